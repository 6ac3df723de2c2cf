//! `klang prepare`.

use anyhow::Result;
use klang_corpus::{Format, Fractions, PrepareOptions, Prepared, prepare, statistics};

use crate::Ending;
use crate::args::PrepareArguments;
use crate::output::{self, Usage};

pub fn run(arguments: &PrepareArguments) -> Result<Ending> {
    let format: Format = arguments.format.parse().map_err(|error| Usage(format!("{error}")))?;
    for (name, share) in [("--dev", arguments.dev), ("--test", arguments.test)] {
        if !(0.0..1.0).contains(&share) {
            return Err(Usage(format!("{name} {share}; allowed: 0 to below 1")).into());
        }
    }
    let options = PrepareOptions {
        seed: arguments.seed,
        fractions: Fractions { dev: arguments.dev, test: arguments.test },
        overwrite: arguments.overwrite,
        ..PrepareOptions::default()
    };
    let Prepared { manifests, warnings, left_out } = prepare(format, &arguments.source, &arguments.out, &options)?;
    warnings.iter().for_each(|warning| output::warning(warning));
    let table = statistics::table(manifests.iter().map(|(name, _, statistics)| (name.as_str(), statistics)));
    output::line(table.trim_end())?;
    for (_, path, _) in &manifests {
        output::line(&path.display().to_string())?;
    }
    if left_out > 0 {
        output::note(&format!("{left_out} utterances were left out; each is named above"));
        return Ok(Ending::PartlyFailed);
    }
    Ok(Ending::Done)
}
