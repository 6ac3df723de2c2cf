//! What the command line says of itself.

use crate::harness::Dir;

/// The commands that `klang --help` lists, each with its description.
fn commands(help: &str) -> Vec<(String, String)> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let command = |line: &str| line.trim().split_once(' ').map(|(name, what)| (name.into(), what.trim().into()));
    listed.filter_map(command).filter(|(name, _): &(String, _)| name != "help").collect()
}

#[test]
fn every_command_describes_itself_and_shows_an_example() {
    let dir = Dir::new();
    let help = dir.klang(["--help"]).succeeds();
    help.prints(&["Exit codes: 0 done, 1 the work failed"]);
    let commands = commands(&help.stdout);
    let names: Vec<&str> = commands.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["doctor", "prepare", "check", "train", "pretrain", "evaluate", "transcribe", "score", "logits"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    for (name, what) in &commands {
        let help = dir.klang([name, "--help"]).succeeds();
        assert_eq!(help.stderr, "");
        help.prints(&[&what[..what.len().min(30)], &format!("Usage: klang {name}")]);
        // doctor has no arguments to show.
        assert!(name == "doctor" || help.stdout.contains(&format!("  klang {name} ")), "no example\n{help}");
    }
}

#[test]
fn the_version_is_told() {
    let dir = Dir::new();
    assert!(dir.klang(["--version"]).succeeds().stdout.starts_with("klang "));
}

#[test]
fn wrong_arguments_end_with_2() {
    let dir = Dir::new();
    let cases: [&[&str]; 4] = [&[], &["trian"], &["train"], &["doctor", "--threads", "0"]];
    for arguments in cases {
        let refused = dir.klang(arguments).ends_with(2);
        assert_eq!(refused.stdout, "", "{refused}");
        assert!(!refused.stderr.is_empty(), "{refused}");
    }
}
