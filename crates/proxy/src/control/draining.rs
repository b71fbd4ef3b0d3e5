use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use runtime::Drain;
use tokio::sync::{mpsc, oneshot};

use super::{ControlCommand, Controller, log};
use crate::admin::DrainListeners;
use crate::error::ProxyError;
use crate::exchange::millis;
use crate::worker::Command;

impl Controller {
    /// Ends at once when it is asked for a second time, or when nobody is left who could ask.
    pub(super) async fn drain(
        &mut self,
        limit: Duration,
        begun: &Drain,
        reply: oneshot::Sender<usize>,
        commands: &mut mpsc::Receiver<ControlCommand>,
    ) {
        let begun_at = runtime::monotonic();
        let ends = self.begin_drain(begun_at + limit).await;
        begun.begin();
        let mut replies = vec![reply];
        let mut ends = pin!(sum(ends));
        let cut = loop {
            tokio::select! {
                cut = &mut ends => break cut,
                command = commands.recv(), if !self.workers.is_empty() => match command {
                    Some(ControlCommand::Update { reply, .. }) => {
                        let _ = reply.send(Err(ProxyError::WorkerGone));
                    }
                    Some(ControlCommand::DrainListeners(_)) => {}
                    Some(ControlCommand::Drain { begun, reply, .. }) => {
                        begun.begin();
                        replies.push(reply);
                        self.workers.clear();
                    }
                    None => self.workers.clear(),
                },
            }
        };
        self.workers.clear();
        self.names.stop();
        self.checks.stop();
        let took = runtime::monotonic().saturating_duration_since(begun_at);
        tracing::info!(cut, took_ms = millis(took), "the proxy is drained");
        for reply in replies {
            // The one who asked may have stopped waiting.
            let _ = reply.send(cut);
        }
    }

    /// Gives what tells, for each worker, how many of its connections were cut.
    async fn begin_drain(&mut self, deadline: Instant) -> Vec<oneshot::Receiver<usize>> {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        for worker in &self.workers {
            let (begun, count) = oneshot::channel();
            let (drained, cut) = oneshot::channel();
            // A worker that has ended has no connections.
            if worker.send(Command::Drain { deadline, begun, drained }).await.is_ok() {
                begins.push(count);
                ends.push(cut);
            }
        }
        self.bound.clear();
        let connections = sum(begins).await;
        let limit = deadline.saturating_duration_since(runtime::monotonic());
        tracing::info!(connections, limit_ms = millis(limit), "the proxy is draining");
        ends
    }

    pub(super) fn drain_listeners(&mut self, how: DrainListeners) {
        match how {
            DrainListeners::AtOnce => self.stop_at = Some(runtime::monotonic()),
            DrainListeners::Gracefully { stops } => {
                self.shared.is_draining.store(true, Ordering::Relaxed);
                let ends_at = runtime::monotonic() + self.drain_time;
                self.stop_at = self.stop_at.or(Some(ends_at)).filter(|_| stops);
                let limit_ms = millis(self.drain_time);
                tracing::info!(limit_ms, stops, "the listeners drain");
            }
        }
    }

    /// Listeners close; their connections end when what is under way on them is done.
    pub(super) async fn stop_listeners(&mut self) {
        self.stop_at = None;
        if self.is_stopped {
            return;
        }
        self.is_stopped = true;
        let stopped = self.bound.len() as u64;
        self.shared.stats.listener_manager().listener_stopped.add(stopped);
        match self.update(self.asked.clone()).await {
            Ok(_) => tracing::info!(listeners = stopped, "the listeners are stopped"),
            Err(error) => log(&error),
        }
    }
}

/// Of what the workers answer; one that has ended has nothing.
async fn sum(answers: Vec<oneshot::Receiver<usize>>) -> usize {
    let mut sum = 0;
    for answer in answers {
        sum += answer.await.unwrap_or(0);
    }
    sum
}
