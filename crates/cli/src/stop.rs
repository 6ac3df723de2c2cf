//! Ctrl-C and SIGTERM: once to stop where the work can go on from, twice to end at once.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static ASKED: AtomicBool = AtomicBool::new(false);

/// What a shell sees of a command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// From now on the first signal only asks for a stop, and says so in `note`'s words; the second ends the process. SIGHUP is left
/// as it is: under `nohup` a training outlives its terminal.
pub fn listen(note: &'static str) {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        // Without a handler a signal ends the process, as it does anywhere: nothing is lost but what was not saved.
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
        let wait = move || {
            for _ in signals.forever() {
                if ASKED.swap(true, Ordering::SeqCst) {
                    signal_hook::low_level::exit(INTERRUPTED);
                }
                eprintln!("klang: {note}; once more ends it at once");
            }
        };
        let _ = std::thread::Builder::new().name("signals".into()).spawn(wait);
    });
}

/// Ends the process at once. An update that was given up may still be computed, and libtorch must not be torn down beneath it.
pub fn exit(code: u8) -> ! {
    let _ = std::io::stdout().flush();
    signal_hook::low_level::exit(code.into())
}

/// Whether a stop was asked for.
pub fn is_asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
