//! Drives the `klang` binary in temporary directories, as a person at a shell would: what is tested is exit codes, what
//! stands on stdout and stderr, and the files that are left. One file a concern; `harness` holds what all need.

mod bad_audio;
mod check;
mod compare;
mod decoding;
mod doctor;
mod evaluate;
mod export;
mod features;
mod harness;
mod help;
mod hostile_names;
mod hub;
mod keep_head;
mod learning;
mod logits;
mod model_folder;
mod prepare;
mod pretrain;
mod pretrained;
mod recipe;
mod regularisers;
mod reproducible;
mod resume;
mod run_folder;
mod score;
mod torture;
mod transcribe;
mod tune;
