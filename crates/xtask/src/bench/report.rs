//! Tables of what was measured.

use super::cargo_bench::Bench;
use super::contender::{KLANG_INT8, Setting};
use super::part::{Clock, Part};
use super::rounds::{Agreement, Outcome};
use super::runner::Measurement;
use super::statistics::{Spread, ratios};
use super::table::{Align, Table};

/// Which of a run's figures.
type Figure = fn(&Measurement, Clock, bool) -> f64;

/// A part's sentence, its table, and for training the table of epochs.
pub fn part(part: &Part, outcomes: &[Outcome], rounds: usize, audio_seconds: Option<f64>) -> String {
    let audio = audio_seconds.map(|seconds| format!(" {seconds:.0} s of audio.")).unwrap_or_default();
    let clock = match part.clock {
        Clock::Whole => "Counted: the whole process, for all.",
        Clock::KlangWhole => {
            "Counted: klang's whole process; of the others the work alone, without imports, opening the model and a warm-up."
        }
        Clock::Work => "Counted: the epochs alone, for all.",
    };
    let rounds = counted_rounds(rounds);
    let mut text = format!("{}{audio} {rounds}. {clock}\n\n{}", part.about, times(part, outcomes, audio_seconds));
    if outcomes.iter().any(|outcome| outcome.runs.iter().any(|run| !run.epochs.is_empty())) {
        text += &format!("\n{}", epochs(outcomes));
    }
    text
}

fn counted_rounds(rounds: usize) -> String {
    format!("{rounds} round{}", if rounds == 1 { "" } else { "s" })
}

fn times(part: &Part, outcomes: &[Outcome], audio_seconds: Option<f64>) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("contender", Left),
        ("setting", Left),
        ("seconds", Right),
        ("min to max", Right),
        ("× real time", Right),
        ("over klang", Right),
        ("min to max", Right),
        ("over klang int8", Right),
        ("min to max", Right),
        ("whole process, s", Right),
        ("over klang", Right),
        ("peak, MiB", Right),
        ("GPU busy", Right),
        ("GPU peak, MiB", Right),
        ("others, cores", Right),
        ("texts equal", Right),
    ]);
    let counted: Figure = |run, clock, is_klang| run.counted(clock, is_klang);
    let whole: Figure = |run, _, _| run.whole_seconds;
    let int8 = outcomes.iter().find(|outcome| outcome.name == KLANG_INT8);
    for outcome in outcomes {
        let setting = outcome.setting.map(|setting: Setting| setting.to_string()).unwrap_or_default();
        let Some(seconds) = spread(part, outcome, counted) else {
            table.row([outcome.name.into(), setting, "failed".into()]);
            continue;
        };
        let over = |figure| outcomes.first().and_then(|klang| over(part, outcome, klang, figure));
        let ratio = over(counted);
        let over_int8 = int8.and_then(|int8| self::over(part, outcome, int8, counted));
        // Where work alone counts for klang too, its process does more than the others': it evaluates and saves.
        let whole = (part.clock == Clock::KlangWhole)
            .then(|| Some((spread(part, outcome, whole)?.median, over(whole))))
            .flatten();
        // The highest of the rounds: a peak is what must fit.
        let peak = outcome.runs.iter().filter_map(|run| run.peak_mib).reduce(f64::max);
        // The same of what disturbed them.
        let others = outcome.runs.iter().filter_map(|run| run.others).reduce(f64::max);
        let gpu = || outcome.runs.iter().filter_map(|run| run.gpu);
        let busy = Spread::of(&gpu().filter_map(|gpu| gpu.busy).collect::<Vec<f64>>());
        let gpu_peak = gpu().filter_map(|gpu| gpu.peak_mib).reduce(f64::max);
        let epochs = outcome.runs.first().map_or(1, |run| run.epochs.len().max(1)) as f64;
        table.row([
            outcome.name.into(),
            setting,
            format!("{:.2}", seconds.median),
            format!("{:.2} to {:.2}", seconds.min, seconds.max),
            audio_seconds.map(|audio| format!("{:.1}", audio * epochs / seconds.median)).unwrap_or_default(),
            ratio.map(|ratio| format!("{:.2}", ratio.median)).unwrap_or_default(),
            ratio.map(|ratio| format!("{:.2} to {:.2}", ratio.min, ratio.max)).unwrap_or_default(),
            over_int8.map(|ratio| format!("{:.2}", ratio.median)).unwrap_or_default(),
            over_int8.map(|ratio| format!("{:.2} to {:.2}", ratio.min, ratio.max)).unwrap_or_default(),
            whole.map(|(seconds, _)| format!("{seconds:.2}")).unwrap_or_default(),
            whole.and_then(|(_, ratio)| Some(format!("{:.2}", ratio?.median))).unwrap_or_default(),
            peak.map(|peak| format!("{peak:.0}")).unwrap_or_default(),
            busy.map(|busy| format!("{:.0} %", 100.0 * busy.median)).unwrap_or_default(),
            gpu_peak.map(|peak| format!("{peak:.0}")).unwrap_or_default(),
            others.map(|cores| format!("{cores:.1}")).unwrap_or_default(),
            outcome.agreement.map(|Agreement { equal, of, .. }| format!("{equal} of {of}")).unwrap_or_default(),
        ]);
    }
    table.markdown()
}

fn figures(part: &Part, outcome: &Outcome, figure: Figure) -> Vec<f64> {
    outcome.runs.iter().map(|run| figure(run, part.clock, outcome.is_klang)).collect()
}

fn spread(part: &Part, outcome: &Outcome, figure: Figure) -> Option<Spread> {
    Spread::of(&figures(part, outcome, figure))
}

fn over(part: &Part, outcome: &Outcome, klang: &Outcome, figure: Figure) -> Option<Spread> {
    Spread::of(&ratios(&figures(part, outcome, figure), &figures(part, klang, figure)))
}

/// Medians over the rounds; losses are the last round's.
fn epochs(outcomes: &[Outcome]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("contender", Left),
        ("epoch", Right),
        ("audio s/s", Right),
        ("min to max", Right),
        ("updates", Right),
        ("padding", Right),
        ("mean loss", Right),
        ("last loss", Right),
    ]);
    for outcome in outcomes {
        let Some(last) = outcome.runs.last() else { continue };
        for (number, epoch) in last.epochs.iter().enumerate() {
            let of = outcome.runs.iter().filter_map(|run| run.epochs.get(number));
            let Some(rate) = Spread::of(&of.map(|epoch| epoch.audio_seconds / epoch.seconds).collect::<Vec<f64>>())
            else {
                continue;
            };
            table.row([
                outcome.name.into(),
                (number + 1).to_string(),
                format!("{:.2}", rate.median),
                format!("{:.2} to {:.2}", rate.min, rate.max),
                epoch.updates.to_string(),
                format!("{:.0} %", epoch.padding * 100.0),
                format!("{:.3}", epoch.loss),
                format!("{:.3}", epoch.last_loss),
            ]);
        }
    }
    table.markdown()
}

/// A bench's table.
pub fn bench(bench: &Bench) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[("what", Left), ("× real time", Right), ("min to max", Right)]);
    let first = bench.rounds.first().map(Vec::as_slice).unwrap_or_default();
    for (index, line) in first.iter().enumerate() {
        let of = bench.rounds.iter().filter_map(|round| round.get(index)).map(|line| line.times_real_time);
        if let Some(Spread { median, min, max }) = Spread::of(&of.collect::<Vec<f64>>()) {
            table.row([line.what.clone(), format!("{median:.0}"), format!("{min:.0} to {max:.0}")]);
        }
    }
    format!("`{}`, one thread, {}.\n\n{}", bench.command, counted_rounds(bench.rounds.len()), table.markdown())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::gpu::GpuUse;
    use crate::bench::machine::Machine;
    use crate::bench::options::{Options, PartName};

    fn outcome(name: &'static str, is_klang: bool, seconds: &[(f64, f64)]) -> Outcome {
        let run = |&(whole_seconds, work): &(f64, f64)| Measurement {
            whole_seconds,
            work_seconds: (!is_klang).then_some(work),
            peak_mib: Some(512.4),
            others: Some(0.26),
            gpu: None,
            epochs: Vec::new(),
            texts: Vec::new(),
        };
        Outcome {
            name,
            is_klang,
            command: String::new(),
            environment: Vec::new(),
            setting: None,
            trials: Vec::new(),
            runs: seconds.iter().map(run).collect(),
            agreement: None,
            versions: BTreeMap::new(),
            error: None,
        }
    }

    fn folder() -> Part {
        use clap::Parser;
        #[derive(Parser)]
        struct Typed {
            #[command(flatten)]
            options: Options,
        }
        Part::of(PartName::Folder, &Typed::parse_from(["bench"]).options, &Machine::default()).unwrap()
    }

    #[test]
    fn a_peer_is_compared_by_its_work_and_by_its_whole_process() {
        let outcomes =
            [outcome("klang", true, &[(4.0, 0.0), (8.0, 0.0)]), outcome("peer", false, &[(8.0, 6.0), (20.0, 8.0)])];
        let table = times(&folder(), &outcomes, Some(60.0));
        let row = table.lines().last().unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        // Work: 6 and 8 s over klang's 4 and 8. Whole: 8 and 20 over the same.
        let expected = ["peer", "7.00", "6.00 to 8.00", "8.6", "1.25", "1.00 to 1.50", "14.00", "2.25", "512", "0.3"];
        assert_eq!(cells, expected);
    }

    #[test]
    fn every_contender_is_compared_with_klang_in_int8_where_it_ran() {
        let outcomes = [
            outcome("klang", true, &[(4.0, 0.0), (8.0, 0.0)]),
            outcome(KLANG_INT8, true, &[(2.0, 0.0), (4.0, 0.0)]),
            outcome("peer", false, &[(8.0, 6.0), (20.0, 8.0)]),
        ];
        let table = times(&folder(), &outcomes, Some(60.0));
        let row = table.lines().last().unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells[4..8], ["1.25", "1.00 to 1.50", "2.50", "2.00 to 3.00"]);
    }

    #[test]
    fn the_gpu_has_columns_where_there_is_one() {
        let mut outcomes = vec![outcome("klang", true, &[(2.0, 0.0), (4.0, 0.0)])];
        assert!(!part(&folder(), &outcomes, 2, None).contains("GPU"));
        for (run, (busy, peak)) in outcomes[0].runs.iter_mut().zip([(0.9, 700.0), (0.96, 800.0)]) {
            run.gpu = Some(GpuUse { busy: Some(busy), peak_mib: Some(peak) });
        }
        let text = part(&folder(), &outcomes, 2, None);
        assert!(text.contains("GPU busy") && text.contains("93 %") && text.contains("800"), "{text}");
    }

    #[test]
    fn a_contender_without_a_run_stands_as_failed() {
        let outcomes = [outcome("klang", true, &[(4.0, 0.0)]), outcome("peer", false, &[])];
        let table = times(&folder(), &outcomes, None);
        assert!(table.lines().last().unwrap().contains("| peer ") && table.contains("failed"), "{table}");
    }
}
