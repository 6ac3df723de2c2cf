"""transformers on torch, attention by scaled_dot_product_attention, in inference mode."""

import protocol
import recognition


def prepare(job):
    import torch
    from transformers import Wav2Vec2ForCTC

    torch.set_num_threads(job["threads"])
    device = job["device"]
    model = Wav2Vec2ForCTC.from_pretrained(job["model"], dtype=torch.float32, attn_implementation="sdpa").eval()
    model = model.to(device)
    bf16 = job["setting"]["precision"] == "bf16"
    # Layer-normed encoders were trained with a mask, group-normed ones with zeros alone: so do their preprocessors.
    masked = model.config.feat_extract_norm == "layer"

    @torch.inference_mode()
    def logits(samples, lengths):
        samples = torch.from_numpy(samples).to(device)
        padded = masked and len(set(lengths)) > 1
        mask = (torch.arange(samples.shape[1]) < torch.tensor(lengths)[:, None]).long().to(device) if padded else None
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            found = model(input_values=samples, attention_mask=mask).logits
        return found.float().cpu().numpy()  # which waits for the GPU

    return recognition.Recogniser(job, logits)


if __name__ == "__main__":
    protocol.serve(["transformers", "torch", "numpy", "soundfile"], prepare)
