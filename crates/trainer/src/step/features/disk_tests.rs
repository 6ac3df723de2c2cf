use super::*;
use tch::{Device, Kind};

const HEADER: Header = Header { digest: [7; 32], kind: Kind::Float, width: 4 };
const MIB: u64 = 1 << 20;

fn heard(number: i64) -> Heard {
    Heard::new(&[number as f32, 1.0])
}

/// Features of `number + 1` frames, none of which is like another.
fn row(number: i64, kind: Kind) -> Tensor {
    let values = Tensor::arange((number + 1) * 4, (Kind::Double, Device::Cpu)) / 3.0 - number;
    values.view([-1, 4]).to_kind(kind)
}

fn open(folder: &tempfile::TempDir) -> Disk {
    Disk::open(folder.path(), HEADER, MIB).unwrap()
}

/// A file with the rows 0, 1 and 2.
fn filled() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(&folder);
    for number in 0..3 {
        assert!(disk.keep(heard(number), &row(number, Kind::Float)).unwrap());
    }
    assert_eq!(disk.take_warnings(), [""; 0]);
    let path = disk.path.clone();
    (folder, path)
}

/// Which of the rows 0, 1 and 2 are there; each must be what was kept.
#[track_caller]
fn there(disk: &Disk) -> [bool; 3] {
    [0, 1, 2].map(|number| {
        let found = disk.get(&heard(number)).unwrap();
        found.inspect(|found| assert_eq!(*found, row(number, Kind::Float), "{number}")).is_some()
    })
}

#[test]
fn rows_come_back_bit_by_bit_in_this_training_and_the_next() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let folder = tempfile::tempdir().unwrap();
        let header = Header { kind, ..HEADER };
        let special = Tensor::from_slice(&[f32::NAN, -0.0, f32::INFINITY, 1e-41]).view([1, 4]).to_kind(kind);
        let rows = [row(0, kind), row(1, kind), special];
        let bits = |row: &Tensor| bytes_of(row).unwrap();
        for run in 0..2 {
            let disk = Disk::open(folder.path(), header, MIB).unwrap();
            for (number, row) in rows.iter().enumerate() {
                let number = number as i64;
                assert_eq!(disk.get(&heard(number)).unwrap().is_some(), run == 1);
                assert!(disk.keep(heard(number), row).unwrap());
                let found = disk.get(&heard(number)).unwrap().unwrap();
                assert_eq!((found.size(), found.kind(), bits(&found)), (row.size(), kind, bits(row)));
            }
            let (at_hand, written) = if run == 0 { (0, 3) } else { (3, 0) };
            let file = disk.path.display().to_string();
            assert_eq!(disk.kept(5), KeptFeatures { file, at_hand, computed: 5, written });
            assert_eq!(disk.take_warnings(), [""; 0]);
        }
    }
}

#[test]
fn a_record_that_was_cut_off_is_dropped_and_those_before_it_stay() {
    let (_folder, path) = filled();
    let whole = std::fs::read(&path).unwrap();
    let third = whole.len() - (Entry::BYTES + 3 * 16);
    for length in [whole.len() - 1, whole.len() - 3 * 16, third + 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let disk = Disk::open(path.parent().unwrap(), HEADER, MIB).unwrap();
        assert_eq!(there(&disk), [true, true, false], "{length}");
        let warnings = disk.take_warnings();
        assert!(warnings.len() == 1 && warnings[0].contains(&format!("{} bytes", length - third)), "{warnings:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), third as u64);
        assert!(disk.keep(heard(2), &row(2, Kind::Float)).unwrap());
        drop(disk);
        assert_eq!(std::fs::read(&path).unwrap(), whole, "computed anew, it is as if nothing had been");
    }
}

#[test]
fn a_file_whose_maker_was_killed_within_the_header_is_begun_anew() {
    let (_folder, path) = filled();
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 1, Header::BYTES - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let disk = Disk::open(path.parent().unwrap(), HEADER, MIB).unwrap();
        assert_eq!(there(&disk), [false; 3]);
        for number in 0..3 {
            assert!(disk.keep(heard(number), &row(number, Kind::Float)).unwrap());
        }
        assert_eq!(disk.take_warnings(), [""; 0]);
        drop(disk);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_flipped_bit_costs_its_record_and_is_never_used() {
    let (folder, path) = filled();
    let whole = std::fs::read(&path).unwrap();
    let second = Header::BYTES + Entry::BYTES + 16;
    // In the numbers of the second record, which are found to be wrong when they are wanted.
    let mut spoiled = whole.clone();
    spoiled[second + Entry::BYTES + 5] ^= 1;
    std::fs::write(&path, &spoiled).unwrap();
    let disk = open(&folder);
    assert_eq!(there(&disk), [true, false, true]);
    assert_eq!(there(&disk), [true, false, true]);
    let warnings = disk.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("a record is damaged"), "{warnings:?}");
    assert_eq!(disk.kept(0).at_hand, 2);
    // Computed anew it is added, and the newer one is found from then on.
    assert!(disk.keep(heard(1), &row(1, Kind::Float)).unwrap());
    assert_eq!(there(&disk), [true; 3]);
    drop(disk);
    let disk = open(&folder);
    assert_eq!(there(&disk), [true; 3]);
    assert_eq!(disk.take_warnings(), [""; 0]);
    drop(disk);
    // In its header: where the next record begins is not known then.
    let mut spoiled = whole;
    spoiled[second + 20] ^= 1;
    std::fs::write(&path, &spoiled).unwrap();
    assert_eq!(there(&open(&folder)), [true, false, false]);
}

#[test]
fn a_file_with_another_header_is_named_with_what_to_do_and_left_as_it_is() {
    let (folder, path) = filled();
    let whole = std::fs::read(&path).unwrap();
    let mut files: Vec<Vec<u8>> = (0..Header::BYTES)
        .map(|place| {
            let mut spoiled = whole.clone();
            spoiled[place] ^= 1;
            spoiled
        })
        .collect();
    files.push(b"my notes".to_vec());
    for file in files {
        std::fs::write(&path, &file).unwrap();
        let message = Disk::open(folder.path(), HEADER, MIB).unwrap_err().to_string();
        assert!(message.contains(path.to_str().unwrap()) && message.contains("delete it"), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), file);
    }
}

#[test]
fn the_file_never_grows_beyond_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    // Room for the rows 0 and 2, of one frame and three: 16 bytes a frame.
    let limit = (Header::BYTES + 2 * Entry::BYTES + (1 + 3) * 16) as u64;
    let disk = Disk::open(folder.path(), HEADER, limit).unwrap();
    let kept = [2, 3, 0, 1].map(|number| disk.keep(heard(number), &row(number, Kind::Float)).unwrap());
    assert_eq!(kept, [true, false, true, false], "what is too long leaves room for what is not");
    assert_eq!((disk.bytes(), std::fs::metadata(&disk.path).unwrap().len()), (limit, limit));
    assert_eq!(disk.take_warnings(), [""; 0]);
    drop(disk);
    // A file beyond a bound that was lowered is read, and stays.
    let disk = Disk::open(folder.path(), HEADER, limit - 1).unwrap();
    assert_eq!(there(&disk), [true, false, true]);
    assert!(!disk.keep(heard(1), &row(1, Kind::Float)).unwrap());
    assert_eq!(std::fs::metadata(&disk.path).unwrap().len(), limit);
}

#[test]
fn a_second_one_reads_what_is_there_and_does_not_write() {
    let (folder, path) = filled();
    let first = open(&folder);
    assert!(first.keep(heard(3), &row(3, Kind::Float)).unwrap());
    // As if the first were writing: half a record, which is not the second one's to cut off.
    let before = std::fs::read(&path).unwrap();
    let during = [&before[..], &[0; 10]].concat();
    std::fs::write(&path, &during).unwrap();
    let second = open(&folder);
    let warnings = second.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("another training writes to it"), "{warnings:?}");
    assert_eq!(there(&second), [true; 3]);
    assert!(second.get(&heard(3)).unwrap().is_some());
    assert!(!second.keep(heard(4), &row(4, Kind::Float)).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), during);
    drop(first);
    drop(second);
    let third = open(&folder);
    assert!(third.keep(heard(4), &row(4, Kind::Float)).unwrap(), "the lock ends with its holder");
}

#[test]
fn a_failing_disk_ends_the_writing_with_one_warning() {
    let (folder, path) = filled();
    let whole = std::fs::read(&path).unwrap();
    let disk = open(&folder);
    // The system refuses what is written here as it does on a full disk.
    disk.state().file = File::open(&path).unwrap();
    for number in 3..6 {
        assert!(!disk.keep(heard(number), &row(number, Kind::Float)).unwrap());
    }
    let warnings = disk.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("training goes on"), "{warnings:?}");
    assert_eq!(there(&disk), [true; 3]);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn features_of_another_shape_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(&folder);
    let float = (Kind::Float, Device::Cpu);
    let others = [Tensor::zeros([2, 3], float), Tensor::zeros([0, 4], float), row(1, Kind::BFloat16)];
    assert!(others.iter().all(|row| !disk.keep(heard(1), row).unwrap()));
    assert_eq!(disk.bytes(), Header::BYTES as u64);
}
