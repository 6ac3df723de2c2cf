//! Ctrl-C and SIGTERM: once to stop where the work can go on from, a second later or after that to end at once.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static ASKED: AtomicBool = AtomicBool::new(false);

/// What a shell sees of a command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Signals so soon after the first are the same request: Ctrl-C reaches a whole process group, `timeout` a process and then its
/// group, and `klang compare` passes on to its trainings what they may have had themselves.
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// From now on the first signal only asks for a stop, and says so in `note`'s words; one a second later or after that ends the
/// process. SIGHUP is left as it is: under `nohup` a training outlives its terminal.
pub fn listen(note: &'static str) {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        // Without a handler a signal ends the process, as it does anywhere: nothing is lost but what was not saved.
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
        let wait = move || {
            let mut first: Option<Instant> = None;
            for _ in signals.forever() {
                match first {
                    None => {
                        ASKED.store(true, Ordering::SeqCst);
                        first = Some(Instant::now());
                        // Who reads it may have ended of the same signal.
                        let _ = writeln!(
                            std::io::stderr(),
                            "klang: {note}; another Ctrl-C, a second from now or later, ends it at once"
                        );
                    }
                    Some(first) if first.elapsed() < ONE_REQUEST => {}
                    Some(_) => signal_hook::low_level::exit(INTERRUPTED),
                }
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
