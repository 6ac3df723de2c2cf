//! Files made to do harm, or damaged: each is refused, with a message that says where and why.

mod common;

use common::{LEGACY_HEAD, archive, legacy, legacy_with_storage, open, refusal, refused, tensor};
use klang_pickle::Error;
use zip::CompressionMethod;

/// The global that a pickle was refused for, with its offset behind the legacy head.
#[track_caller]
fn forbidden(pickle: &[u8]) -> (String, u64) {
    match refused(pickle) {
        Error::Forbidden { global, offset, .. } => (global, offset - LEGACY_HEAD.len() as u64),
        other => panic!("{other}"),
    }
}

/// The message of a pickle that was refused as malformed.
#[track_caller]
fn malformed(pickle: &[u8]) -> String {
    match refused(pickle) {
        Error::Pickle { what, .. } => what,
        other => panic!("{other}"),
    }
}

#[test]
fn code_is_refused_by_name_and_place_whatever_opcode_asks_for_it() {
    for (pickle, global, offset) in [
        (&b"cos\nsystem\n(U\x02idtR."[..], "os.system", 0),
        (b"\x80\x02cposix\nsystem\nU\x02id\x85R.", "posix.system", 2),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "os.system", 14),
        (b"(U\x02idios\nsystem\n.", "os.system", 5),
        (b"(cos\nsystem\nU\x02ido.", "os.system", 1),
        (b"\x80\x02csubprocess\nPopen\nU\x02id\x85\x81.", "subprocess.Popen", 2),
        (b"cbuiltins\neval\nU\x011\x85R.", "builtins.eval", 0),
        (b"c__builtin__\ngetattr\n.", "__builtin__.getattr", 0),
        (b"cbuiltins\n__import__\n.", "builtins.__import__", 0),
        (b"\x80\x04\x8c\x0dfairseq.utils\x8c\x09os.system\x93.", "fairseq.utils.os.system", 28),
        (b"ctorch.hub\nload\n.", "torch.hub.load", 0),
    ] {
        assert_eq!(forbidden(pickle), (global.to_string(), offset));
    }
}

#[test]
fn code_in_a_state_or_behind_the_values_is_refused() {
    let in_build = b"cargparse\nNamespace\n)\x81}U\x01acos\nsystem\nU\x02id\x85Rsb.";
    assert_eq!(forbidden(in_build).0, "os.system");
    let in_keys = [LEGACY_HEAD, b"}.", b"\x80\x02](cos\nsystem\nU\x02id\x85Re."].concat();
    assert!(matches!(refusal(&in_keys), Error::Forbidden { global, .. } if global == "os.system"));
    let in_system = [&LEGACY_HEAD[..LEGACY_HEAD.len() - 4], b"cos\nsystem\nU\x02id\x85R."].concat();
    assert!(matches!(refusal(&in_system), Error::Forbidden { .. }));
    let zipped = archive(&[("m/data.pkl", b"cos\nsystem\nU\x02id\x85R.")], CompressionMethod::Stored);
    let message = refusal(&zipped).to_string();
    assert!(message.contains("model.pt: its data.pkl asks at byte 0 for `os.system`"), "{message}");
    assert!(message.contains("nothing was run") && message.contains("model.safetensors"), "{message}");
}

#[test]
fn what_hides_values_from_the_reader_is_refused() {
    assert!(malformed(b"\x82\x01.").contains("extension"));
    assert!(malformed(b"\x97.").contains("buffer"));
    assert!(malformed(b"Pid\n.").contains("persistent id"));
    assert!(malformed(b"(U\x06modulecargparse\nNamespace\nU\x01fU\x01stQ.").contains("state_dict"));
    assert!(malformed(b"\x80\x06N.").contains("protocol 6"));
    assert!(malformed(b"\xff").contains("0xff"));
    assert!(malformed(b"U\x02id)R.").contains("no name"));
}

#[test]
fn a_stream_cut_anywhere_is_refused() {
    let whole = std::fs::read(common::fixture("legacy.pt")).unwrap();
    for length in 0..whole.len() {
        refusal(&whole[..length]);
    }
}

#[test]
fn lengths_beyond_the_end_are_refused_without_allocating_them() {
    for pickle in [
        &b"X\xff\xff\xff\xffabc"[..],
        b"T\xff\xff\xff\x7fabc",
        b"T\xff\xff\xff\xff",
        b"B\xff\xff\xff\xff",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x00",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\x00N.",
        b"Vno end",
    ] {
        let what = malformed(pickle);
        assert!(what.contains("cut short") || what.contains("a length of -1"), "{what}");
    }
}

#[test]
fn a_stack_that_runs_empty_is_refused() {
    for pickle in [
        &b"."[..],
        b"N(.",
        b"0.",
        b"a.",
        b"N(a.",
        b"N(0b.",
        b"t.",
        b"l.",
        b"(s.",
        b"N(s.",
        b"1.",
        b"2.",
        b"R.",
        b"b.",
        b"\x85.",
        b"h\x00.",
        b"q\x00.",
        b"g-1\n.",
        b"(o.",
        b"(Nd.",
        b"](NNu.",
        b"}NNb.0",
        b"N(NNu.",
        b"Na.",
        b"\x93.",
        b"Q.",
        b"NQ.",
        b"Ix\n.",
        b"F1.5x\n.",
        b"Sx\n.",
        b"\x8cN.",
    ] {
        refused(pickle);
    }
}

#[test]
fn a_bomb_of_shared_lists_stays_as_small_as_its_pickle() {
    // Each list holds the one before ten times: 10^60 elements for whoever would copy them.
    let mut pickle = b"]q\x00".to_vec();
    for level in 0..60u8 {
        pickle.extend(b"](");
        pickle.extend([b'h', level].repeat(10));
        pickle.extend([b'e', b'q', level + 1]);
    }
    pickle.push(b'.');
    let file = open(&legacy(&pickle)).unwrap();
    assert_eq!(file.root().describe(), "a list of 10");
    let deep = (0..60).fold(file.root(), |list, _| list.items().last().unwrap());
    assert_eq!(deep.describe(), "a list of 0");
}

#[test]
fn a_bomb_of_copies_is_refused() {
    let list = [&b"]("[..], &b"N".repeat(1000), b"eq\x00"].concat();
    let copies = b"c__builtin__\nset\nq\x010(h\x00h\x01h\x00\x85R".to_vec();
    let bomb = [&list[..], &copies, &b"h\x01h\x00\x85R".repeat(1000), b"t."].concat();
    assert!(malformed(&bomb).contains("over and over"));
}

#[test]
fn more_values_than_a_checkpoint_needs_are_refused() {
    assert!(malformed(&b"N".repeat(3 << 20)).contains("more than 2097152"));
    assert!(malformed(&b"(".repeat(3 << 20)).contains("more than 2097152"));
    assert!(malformed(&[b"N", &b"2".repeat(3 << 20)[..]].concat()).contains("more than 2097152"));
    assert!(malformed(&[b"]", &b"2a".repeat(9 << 20)[..]].concat()).contains("more than 8388608 parts"));
    let refilled = [&b"("[..], &b"]2".repeat(1 << 19), b"t0"].concat().repeat(9);
    assert!(malformed(&refilled).contains("more than 2097152 values"), "values dropped from the stack count too");
}

#[test]
fn a_pickle_beyond_the_bound_is_refused() {
    let long = [&b"B"[..], &(65u32 << 20).to_le_bytes(), &vec![0; 65 << 20], b"."].concat();
    assert!(malformed(&long).contains("at most 67108864 bytes"));
    let zipped = archive(&[("m/data.pkl", &long)], CompressionMethod::Stored);
    assert!(matches!(refusal(&zipped), Error::TooLarge { limit: 67108864, .. }));
}

#[test]
fn deep_nesting_overflows_no_stack() {
    let depth = 1 << 20;
    let lists = [b"]".repeat(depth), b"a".repeat(depth - 1), b".".to_vec()].concat();
    let file = open(&legacy(&lists)).unwrap();
    assert_eq!(format!("{:?}", file.root()), "a list of 1");
    drop(file);
    let tuples = [&b"N"[..], &b"\x85".repeat(depth), b"."].concat();
    drop(open(&legacy(&tuples)).unwrap());
    // Calls within calls, as _rebuild_from_type_v2 allows one level of.
    let calls = [
        b"ctorch._tensor\n_rebuild_from_type_v2\nq\x000".to_vec(),
        b"h\x00(h\x00N".repeat(1000),
        b")".to_vec(),
        b"NtR".repeat(1000),
        b".".to_vec(),
    ];
    assert!(malformed(&calls.concat()).contains("without the function"));
}

#[test]
fn a_tensor_must_lie_in_its_storage() {
    let held = [0u8; 24]; // six floats
    let good = legacy_with_storage(&tensor("FloatStorage", "6", "0", "2 3", "3 1"), 6, &held);
    assert_eq!(open(&good).unwrap().tensors(&[]).unwrap()["w"].shape(), [2, 3]);
    let max = "9223372036854775807";
    for (elements, offset, shape, strides, expected) in [
        ("6", "1", "2 3", "3 1", "reach byte 28"),
        ("6", "0", "7", "1", "reach byte 28"),
        ("6", "0", "2 3", "4 1", "reach byte 28"),
        ("6", max, "1", "1", "beyond what any file holds"),
        ("6", "0", "2 2", &format!("{max} {max}"), "beyond what any file holds"),
        ("6", "0", &format!("{max} {max}"), "0 0", "beyond what any file holds"),
        ("6", "0", &format!("0 {max} {max}"), "1 1 1", "beyond what any file holds"),
        ("6", "0", "1099511627776", "0", "at most 16777216"),
        ("6", "0", "2 3", "1", "1 strides for 2 dimensions"),
        ("7", "0", "2 3", "3 1", "claims 7 elements"),
        (max, "0", "1", "1", "claims 9223372036854775807 elements"),
    ] {
        let file = open(&legacy_with_storage(&tensor("FloatStorage", elements, offset, shape, strides), 6, &held));
        let error = file.unwrap().tensors(&[]).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("\"w\": "), "{shape} {strides}: {error}");
    }
}

#[test]
fn a_tensor_must_lie_in_its_view_of_a_storage() {
    // Before PyTorch 0.4 a persistent id could end in (key, offset, length): a window of the storage.
    let held: Vec<u8> = (0..6).collect();
    for (shape, expected) in [("2", Some(&[3u8, 4][..])), ("3", None)] {
        let whole = tensor("ByteStorage", "6", "1", shape, "1");
        let at = whole.windows(2).position(|window| window == b"tQ").unwrap();
        let view = [&whole[..at], b"(U\x011K\x02K\x03t", &whole[at..]].concat();
        let file = open(&legacy_with_storage(&view, 6, &held)).unwrap();
        let read = file.tensors(&[]).and_then(|tensors| Ok(file.read(&tensors["w"])?.into_owned()));
        assert_eq!(read.ok().as_deref(), expected);
    }
}

#[test]
fn of_two_entries_under_one_key_the_last_counts() {
    let file = open(&legacy(b"}(U\x01aK\x01U\x01aK\x02u.")).unwrap();
    assert_eq!(file.root().get("a").unwrap().as_i64(), Some(2));
}

#[test]
fn negative_sizes_are_refused() {
    for (elements, offset, shape, strides, expected) in [
        ("6", "0", "-1", "1", "size is -1"),
        ("6", "0", "2", "-1", "stride is -1"),
        ("6", "-1", "2", "1", "offset is -1"),
        ("-6", "0", "2", "1", "storage's length is -6"),
        ("6", "0", "99999999999999999999", "1", "size is no integer of 64 bits"),
        ("6", "0", &"1 ".repeat(65), &"1 ".repeat(65), "more than 64 dimensions"),
    ] {
        let what = malformed(&tensor("FloatStorage", elements, offset, shape, strides));
        assert!(what.contains(expected), "{what}");
    }
}

#[test]
fn a_tensor_that_is_yet_to_be_changed_is_refused() {
    let whole = tensor("FloatStorage", "1", "0", "1", "1");
    let head = whole.strip_suffix(b"tRs.").unwrap();
    for (flags, refused) in
        [(&b"}U\x03neg\x88s"[..], true), (b"}U\x03neg\x89s", false), (b"N", false), (b"K\x01", true)]
    {
        let file = open(&legacy_with_storage(&[head, flags, b"tRs."].concat(), 1, &[0; 4]));
        assert_eq!(file.err().map(|error| error.to_string().contains("negated")), refused.then_some(true), "{flags:?}");
    }
}

#[test]
fn storages_that_are_missing_or_unknown_are_refused() {
    let missing = open(&legacy(&tensor("FloatStorage", "1", "0", "1", "1"))).unwrap().tensors(&[]).unwrap_err();
    assert!(missing.to_string().contains("storage \"0\" is not in the file"), "{missing}");
    let foreign = legacy_with_storage(b"}.", 1, &[0; 4]);
    assert!(refusal(&foreign).to_string().contains("its pickle says nothing"));
    let pickle = tensor("FloatStorage", "1", "0", "1", "1");
    let zipped = archive(&[("m/data.pkl", &pickle), ("m/data/1", &[0; 4])], CompressionMethod::Stored);
    let missing = open(&zipped).unwrap().tensors(&[]).unwrap_err();
    assert!(missing.to_string().contains("not in the file"), "{missing}");
    for count in [7, u64::MAX, u64::MAX / 4 + 2] {
        let error = refusal(&legacy_with_storage(&tensor("FloatStorage", "6", "0", "1", "1"), count, &[0; 24]));
        assert!(error.to_string().contains("elements of 4 bytes"), "{error}");
    }
    let twice = [LEGACY_HEAD, &pickle, b"\x80\x02](U\x010U\x010e.", &[0; 16]].concat();
    assert!(refusal(&twice).to_string().contains("comes twice"));
}

#[test]
fn types_that_no_weights_have_are_refused_when_asked_for() {
    let complex = legacy_with_storage(&tensor("ComplexFloatStorage", "1", "0", "1", "1"), 1, &[0; 8]);
    let error = open(&complex).unwrap().tensors(&[]).unwrap_err().to_string();
    assert!(error.contains("\"w\": its type is complex64; read are"), "{error}");
    let Error::Forbidden { global, .. } = refused(&tensor("NoSuchStorage", "1", "0", "1", "1")) else { panic!() };
    assert_eq!(global, "torch.NoSuchStorage");
}

#[test]
fn what_is_no_checkpoint_is_refused_by_what_it_is() {
    assert!(matches!(refusal(b""), Error::Empty { .. }));
    let mut tar = vec![0; 1024];
    tar[..8].copy_from_slice(b"storages");
    tar[257..262].copy_from_slice(b"ustar");
    assert!(refusal(&tar).to_string().contains("tar archive"));
    let error = refusal(b"\x10\0\0\0\0\0\0\0{}").to_string();
    assert!(error.contains(r"starts with \x10\x00") && error.contains("torch.save"), "{error}");
    refusal(b"\x80\x02K\x01.");
    let version = [&LEGACY_HEAD[..14], b".\x80\x02M\xea\x03.\x80\x02}.N.]."].concat();
    assert!(refusal(&version).to_string().contains("1002"));
    let big_endian = [&LEGACY_HEAD[..LEGACY_HEAD.len() - 4], b"\x80\x02}U\x0dlittle_endian\x89s.N.]."].concat();
    assert!(refusal(&big_endian).to_string().contains("big-endian"));
}

#[test]
fn paths_that_are_no_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| klang_pickle::TorchFile::open(&folder.path().join(name)).err().unwrap();
    assert!(matches!(at(""), Error::NotAFile { .. }));
    assert!(matches!(at("none.pt"), Error::Open { .. }));
    std::fs::write(folder.path().join("empty.pt"), b"").unwrap();
    assert!(matches!(at("empty.pt"), Error::Empty { .. }));
}

#[test]
fn archives_that_are_no_checkpoints_are_refused() {
    let stored = |entries: &[(&str, &[u8])]| refusal(&archive(entries, CompressionMethod::Stored)).to_string();
    assert!(stored(&[("m/other", b"")]).contains("without a data.pkl"));
    assert!(stored(&[("a/data.pkl", b"N."), ("b/data.pkl", b"N.")]).contains("more than one"));
    assert!(stored(&[("m/data.pkl", b"N."), ("m/byteorder", b"big")]).contains("big-endian"));
    assert!(stored(&[("m/data.pkl", b"N."), ("m/constants.pkl", b"N.")]).contains("TorchScript"));
    assert!(refusal(b"PK\x03\x04 and nothing").to_string().contains("zip archive"));
}

/// An archive of one empty dict, with `bytes` at `offset` of its central directory's first header.
fn edited(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut zip = archive(&[("m/data.pkl", b"}.")], CompressionMethod::Stored);
    let header = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    zip[header + offset..][..bytes.len()].copy_from_slice(bytes);
    zip
}

#[test]
fn an_archive_that_lies_is_refused() {
    open(&edited(8, &[0])).unwrap();
    assert!(refusal(&edited(8, &[1])).to_string().contains("encrypted"));
    assert!(refusal(&edited(10, &[12])).to_string().contains("compressed with"));
    refusal(&edited(20, &u32::to_le_bytes(1 << 30))); // compressed size
    refusal(&edited(24, &u32::to_le_bytes(1 << 30))); // size
    refusal(&edited(42, &u32::to_le_bytes(1 << 30))); // place
    let both = [u32::to_le_bytes(1 << 30), u32::to_le_bytes(1 << 30)].concat();
    assert!(refusal(&edited(20, &both)).to_string().contains("the file ends at"));
}

#[test]
fn a_bomb_of_compressed_zeros_is_refused() {
    let pickle = tensor("ByteStorage", "1", "0", "1", "1");
    let zeros = vec![0; 80 << 20];
    let bomb = archive(&[("m/data.pkl", &pickle), ("m/data/0", &zeros)], CompressionMethod::Deflated);
    assert!(bomb.len() < 1 << 20);
    let error = refusal(&bomb).to_string();
    assert!(error.contains("data/0: would unpack from") && error.contains("at most 67108864"), "{error}");
    // The same with a modest claim: what comes beyond it is not taken.
    let mut liar = archive(&[("m/data.pkl", &pickle), ("m/data/0", &zeros[..1 << 20])], CompressionMethod::Deflated);
    let header = liar.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    liar[header + 24..header + 28].copy_from_slice(&100u32.to_le_bytes());
    let file = open(&liar).unwrap();
    let error = file.read(&file.tensors(&[]).unwrap()["w"]).unwrap_err().to_string();
    assert!(error.contains("data/0: ") && error.contains("larger than its declared"), "{error}");
}

#[test]
fn names_recalled_without_end_and_endless_numbers_are_refused() {
    let long = [&b"X"[..], &(1u32 << 20).to_le_bytes(), &vec![b'x'; 1 << 20], b"q\x00"].concat();
    refused(&[&long[..], &b"h\x00h\x00\x93".repeat(1000), b"."].concat());
    // What it takes to convert grows with the square of the digits.
    refused(&[&b"(L"[..], &b"9".repeat(65), b"L\nt."].concat());
    open(&legacy(&[&b"(L"[..], &b"9".repeat(64), b"L\nt."].concat())).unwrap();
}
