use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::splice::Pipe;

/// One read of what is not bulk. Reads that fill it are taken as a sign of bulk, which goes through pipes: 64 KiB is
/// where copying twice begins to cost more than a third system call.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;
/// Buffers that a worker keeps while nobody uses them: 8 x 64 KiB = 512 KiB. In use is one at a time, and one for each
/// direction whose receiver is slower than its sender.
const BUFFERS_KEPT: usize = 8;
/// Pipes that a worker keeps, and that it has at most: 8 x 512 KiB = 4 MiB kept (of pages that are there only while they
/// hold bytes), 128 x 512 KiB = 64 MiB when as many receivers are slow. Who finds none uses a buffer.
const PIPES_KEPT: usize = 8;
const PIPES_MAX: usize = 128;

/// Buffers and pipes of one worker; nobody holds one while nothing moves.
#[derive(Default)]
pub(crate) struct Pools {
    buffers: RefCell<Vec<Box<[u8]>>>,
    pipes: RefCell<Vec<Pipe>>,
    pipes_made: Rc<Cell<usize>>,
}

impl Pools {
    pub(super) fn buffer(&self) -> Box<[u8]> {
        let kept = self.buffers.borrow_mut().pop();
        kept.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
    }

    pub(super) fn give_buffer(&self, buffer: Box<[u8]>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS_KEPT {
            buffers.push(buffer);
        }
    }

    /// An empty pipe; `None` when there are too many, or the system gives none.
    pub(super) fn pipe(&self) -> Option<Pipe> {
        if let Some(pipe) = self.pipes.borrow_mut().pop() {
            return Some(pipe);
        }
        if self.pipes_made.get() >= PIPES_MAX {
            return None;
        }
        Pipe::new(&self.pipes_made)
            .inspect_err(|error| tracing::debug!(%error, "bytes are copied for want of a pipe"))
            .ok()
    }

    /// Takes back an empty pipe.
    pub(super) fn give_pipe(&self, pipe: Pipe) {
        let mut pipes = self.pipes.borrow_mut();
        if pipes.len() < PIPES_KEPT {
            pipes.push(pipe);
        }
    }
}

#[cfg(test)]
impl Pools {
    /// Buffers and pipes that nobody uses, and all pipes.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.buffers.borrow().len(), self.pipes.borrow().len(), self.pipes_made.get())
    }
}
