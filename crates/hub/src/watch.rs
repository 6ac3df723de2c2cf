//! Runs work that cannot be timed or stopped from outside, hears its pulse, and gives up on it when it falls silent.
//!
//! `hf-hub` waits for a silent server for ever and cannot be told to stop. It runs in a thread of its own here: each
//! pulse says that it lives. Work whose listener has gone ends at its next pulse.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

enum Event<T> {
    Pulse(u64),
    Done(T),
}

/// Why the work gave no result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// No pulse for as long as was allowed.
    Silent,
    /// It ended without a result: it panicked, or was stopped by its own pulse.
    Ended,
}

/// What the work reports through.
pub(crate) struct Pulse<T>(Sender<Event<T>>);

impl<T> Pulse<T> {
    /// Reports a number; ends the work where nobody listens any more.
    pub fn beat(&self, number: u64) {
        if self.0.send(Event::Pulse(number)).is_err() {
            self.stop();
        }
    }

    /// Ends the work from within a callback that cannot return an error. No panic message is printed.
    pub fn stop(&self) -> ! {
        resume_unwind(Box::new("stopped"))
    }
}

/// Runs `work` in a thread and hands what it beats to `hear`, until its result or `patience` without a beat.
pub(crate) fn watch<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce(Pulse<T>) -> T + Send + 'static,
    mut hear: impl FnMut(u64),
) -> Result<T, Lost> {
    let (sender, receiver) = channel();
    let spawned = thread::Builder::new().name("klang-hub".into()).spawn(move || {
        let result = work(Pulse(sender.clone()));
        let _ = sender.send(Event::Done(result)); // nobody listens: nobody needs the result
    });
    if spawned.is_err() {
        return Err(Lost::Ended);
    }
    loop {
        match receiver.recv_timeout(patience) {
            Ok(Event::Pulse(number)) => hear(number),
            Ok(Event::Done(result)) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => return Err(Lost::Silent),
            Err(RecvTimeoutError::Disconnected) => return Err(Lost::Ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn pulses_are_heard_in_order_and_the_result_comes_back() {
        let mut heard = Vec::new();
        let result = watch(
            Duration::from_secs(5),
            |pulse| {
                (1..4).for_each(|number| pulse.beat(number));
                "done"
            },
            |number| heard.push(number),
        );
        assert_eq!((result, heard), (Ok("done"), vec![1, 2, 3]));
    }

    #[test]
    fn silent_work_is_given_up_and_ends_at_its_next_pulse() {
        let (waits, wait) = sync_channel::<()>(0);
        let (ends, end) = sync_channel::<()>(0);
        let work = move |pulse: Pulse<()>| {
            let _ends = ends; // dropped when the thread ends
            let _ = wait.recv();
            pulse.beat(1);
            unreachable!("the listener has gone");
        };
        assert_eq!(watch(Duration::from_millis(20), work, |_| ()), Err(Lost::Silent));
        drop(waits);
        assert_eq!(end.recv_timeout(Duration::from_secs(5)), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn work_that_stops_itself_gives_no_result() {
        assert_eq!(watch::<()>(Duration::from_secs(5), |pulse| pulse.stop(), |_| ()), Err(Lost::Ended));
    }
}
