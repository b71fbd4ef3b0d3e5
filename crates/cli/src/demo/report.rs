//! Claims and their figures, and a progress bar on a terminal.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::output::{has_colors, print_line};

/// Width of the progress bar in characters.
const BAR_WIDTH: u64 = 30;
/// Time between two looks of the bar.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// What was claimed so far.
pub(crate) struct Report {
    held: u32,
    failed: u32,
    is_terminal: bool,
    has_colors: bool,
}

impl Report {
    pub(crate) fn new() -> Self {
        let out = io::stdout();
        Self { held: 0, failed: 0, is_terminal: out.is_terminal(), has_colors: has_colors(&out) }
    }

    /// A heading over the claims that follow.
    pub(crate) fn heading(&self, text: &str) {
        print_line("");
        print_line(text);
    }

    /// One claim, and whether it held.
    pub(crate) fn claim(&mut self, holds: bool, claim: &str, figures: &str) {
        let word = match (holds, self.has_colors) {
            (true, true) => "\u{1b}[32mok\u{1b}[0m    ",
            (true, false) => "ok    ",
            (false, true) => "\u{1b}[31mFAILED\u{1b}[0m",
            (false, false) => "FAILED",
        };
        if holds {
            self.held += 1;
        } else {
            self.failed += 1;
        }
        print_line(&format!("  {word}  {claim:<52} {figures}"));
    }

    /// Shows a bar while `work` runs and counts up to `total`; only on a terminal.
    pub(crate) async fn with_bar<T>(
        &self,
        what: &str,
        total: u64,
        done: &Arc<AtomicU64>,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        if !self.is_terminal {
            return work.await;
        }
        loop {
            tokio::select! {
                result = &mut work => {
                    draw("\r\u{1b}[K");
                    return result;
                }
                () = tokio::time::sleep(BAR_INTERVAL) => {
                    let done = done.load(Ordering::Relaxed).min(total);
                    let filled = done * BAR_WIDTH / total.max(1);
                    let bar: String =
                        (0..BAR_WIDTH).map(|at| if at < filled { '█' } else { '░' }).collect();
                    draw(&format!("\r  {bar} {what} {done}/{total}\u{1b}[K"));
                }
            }
        }
    }

    /// The sum, and the exit code.
    pub(crate) fn close(&self) -> ExitCode {
        print_line("");
        let all = self.held + self.failed;
        if self.failed == 0 {
            print_line(&format!("All {all} claims held."));
            ExitCode::SUCCESS
        } else {
            print_line(&format!("{} of {all} claims FAILED.", self.failed));
            ExitCode::FAILURE
        }
    }
}

fn draw(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
