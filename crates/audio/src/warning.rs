//! What is odd about a file, but does not stop it from being used.

use std::fmt;

/// Something that whoever prepared the file may want to know. `Display` gives one line without the file's name.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// The header promises more frames than the file holds; those that are there were used.
    Truncated {
        /// Frames by the header.
        promised_frames: u64,
        /// Frames in the file.
        found_frames: u64,
    },
    /// The file's rate is below the one asked for: the upper band is empty.
    Upsampled {
        /// The file's rate, Hz.
        from: u32,
    },
    /// Samples outside [−1, 1] were set to the nearer bound.
    Clamped {
        /// How many samples.
        samples: u64,
        /// The largest magnitude met.
        peak: f32,
    },
    /// Packets that could not be decoded; silence stands in their place where their length is known.
    Damaged {
        /// How many packets.
        packets: u64,
    },
    /// The segment reaches beyond the end of the file.
    SegmentCut {
        /// Duration asked for, seconds.
        asked: f64,
        /// Duration given, seconds.
        found: f64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Truncated { promised_frames, found_frames } => {
                write!(f, "truncated: the header promises {promised_frames} frames, the file holds {found_frames}")
            }
            Warning::Upsampled { from } => write!(f, "upsampled from {from} Hz: nothing lies above {} Hz", from / 2),
            Warning::Clamped { samples, peak } => {
                write!(f, "{samples} samples outside [-1, 1] were clamped (largest magnitude {peak})")
            }
            Warning::Damaged { packets } => write!(f, "{packets} damaged packets could not be decoded"),
            Warning::SegmentCut { asked, found } => {
                write!(f, "the file ends within the segment: {asked:.3} s asked for, {found:.3} s found")
            }
        }
    }
}
