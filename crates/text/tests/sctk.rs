//! NIST's matched-pairs test against its own program, sc_stats: segments, mean, sd, z and p. See golden/sctk.py.

use klang_text::{Counts, MatchedPairs, Operation, align, mapsswe, segments};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// Whether sclite's and klang's alignments have the same words right. If not, there are no texts.
    alike: bool,
    printed: Printed,
    /// Reference; hypothesis of a and sclite's alignment; those of b.
    utterances: Vec<[String; 5]>,
}

/// As sc_stats prints it: three digits behind the point. The difference is a − b.
#[derive(Deserialize)]
struct Printed {
    segments: u64,
    mean: String,
    sd: String,
    z: String,
    p: String,
}

fn golden() -> Vec<Case> {
    let golden: Golden = serde_json::from_str(include_str!("golden/sctk.json")).unwrap();
    assert_eq!(golden.cases.len(), 9);
    golden.cases
}

fn steps(letters: &str) -> Vec<Operation> {
    let step = |letter| match letter {
        'C' => Operation::Match,
        'S' => Operation::Substitution,
        'D' => Operation::Deletion,
        'I' => Operation::Insertion,
        _ => panic!("{letter}"),
    };
    letters.chars().map(step).collect()
}

/// Three digits are printed: off by half of the last, and by what a decimal number is off in binary.
fn is_printed(ours: f64, theirs: &str) -> bool {
    (ours - theirs.parse::<f64>().unwrap()).abs() <= 0.000_5 + 1e-9
}

fn check(case: &Case, ours: &MatchedPairs, whose: &str) {
    let (name, theirs) = (format!("{} by {whose} alignments: {ours:?}", case.name), &case.printed);
    assert_eq!(ours.segments, theirs.segments, "{name}");
    assert!(is_printed(ours.mean, &theirs.mean), "mean of {name}");
    assert!(is_printed(ours.sd, &theirs.sd), "sd of {name}");
    let (Some(z), Some(p)) = (ours.z, ours.p) else {
        // All segments differ by the same: sctk gives up too, but says it by z = 0 and p = 1.
        assert_eq!((theirs.sd.as_str(), theirs.z.as_str(), theirs.p.as_str()), ("0.000", "0.000", "1.000"), "{name}");
        return;
    };
    assert!(is_printed(z, &theirs.z), "z of {name}");
    // sctk looks p up at |z| rounded down to hundredths, in a table of 7 digits of Φ: 2 · 1e-7 beside the half of the last digit.
    let looked_up = libm::erfc((z.abs() * 100.0).floor() / 100.0 / std::f64::consts::SQRT_2);
    if theirs.p == "<0.001" {
        assert!(looked_up < 0.001 + 2e-7, "p of {name}");
    } else {
        assert!((looked_up - theirs.p.parse::<f64>().unwrap()).abs() <= 0.000_5 + 2e-7, "p of {name}");
    }
    // p falls by at most 2 φ(0) = 0.798 for each 1 of z, 0.00798 for a hundredth.
    assert!((0.0..0.008).contains(&(looked_up - p)), "p of {name}");
}

#[test]
fn sclites_alignments_give_what_sctk_prints() {
    for case in golden() {
        let of = |place: usize| case.utterances.iter().map(|u| steps(&u[place])).collect::<Vec<_>>();
        // Ours is system − control: the control is sctk's second.
        let ours = mapsswe(&of(4), &of(2)).unwrap().unwrap();
        check(&case, &ours, "sclite's");
    }
}

/// klang's alignments count 1 for each error, sclite's 4 for a substitution and 3 for the others. In these texts both must find
/// the same words right (golden/sctk.py says why); in which order errors stand between two right words may differ.
#[test]
fn own_alignments_give_what_sctk_prints() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut cases = 0;
    for case in golden().iter().filter(|case| case.alike) {
        let of = |place: usize| {
            let ours = |u: &[String; 5]| align(&words(&u[0]), &words(&u[place]));
            case.utterances.iter().map(ours).collect::<Vec<_>>()
        };
        let (a, b) = (of(1), of(3));
        for (u, (a, b)) in case.utterances.iter().zip(a.iter().zip(&b)) {
            let theirs = (steps(&u[2]), steps(&u[4]));
            assert_eq!((Counts::of(a), Counts::of(b)), (Counts::of(&theirs.0), Counts::of(&theirs.1)), "{u:?}");
            assert_eq!(segments(a, b), segments(&theirs.0, &theirs.1), "{u:?}");
        }
        check(case, &mapsswe(&b, &a).unwrap().unwrap(), "klang's");
        cases += 1;
    }
    assert_eq!(cases, 7);
}
