//! Writes to the network that leave together: a request's HTTP/2 headers and its message in one system call and packet.
//!
//! hyper flushes the headers of a request before it hands over the message, so a small request costs two writes, and the
//! service may read twice. [`Corked`] lets the tasks that are ready run once before a flush takes effect. It
//! is below TLS, so it serves both kinds of connection.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};

/// What is held back at most, in bytes. More is a large message, for which one system call is no cost.
const CAPACITY: usize = 16 * 1024;

/// A connection whose small writes leave at a flush, after one turn of the other tasks.
pub struct Corked<T, Guard = ()> {
    io: T,
    /// Dropped with the connection.
    _guard: Guard,
    held: Vec<u8>,
    /// The flush under way has let the other tasks run.
    has_yielded: bool,
}

impl<T: Write + Unpin, Guard: Unpin> Corked<T, Guard> {
    /// Corks a connection. The guard is dropped with it.
    pub fn new(io: T, guard: Guard) -> Self {
        Self { io, _guard: guard, held: Vec::new(), has_yielded: false }
    }

    /// Makes room for so many bytes. `false`: there are too many of them to be held back.
    fn poll_room(&mut self, context: &mut Context<'_>, count: usize) -> Poll<io::Result<bool>> {
        if self.held.len() + count > CAPACITY {
            ready!(self.poll_release(context))?;
        }
        Poll::Ready(Ok(count <= CAPACITY))
    }

    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin, Guard: Unpin> Write for Corked<T, Guard> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !ready!(self.poll_room(context, bytes.len()))? {
            return Pin::new(&mut self.io).poll_write(context, bytes);
        }
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = slices.iter().map(|slice| slice.len()).sum();
        if !ready!(self.poll_room(context, count))? {
            return Pin::new(&mut self.io).poll_write_vectored(context, slices);
        }
        slices.iter().for_each(|slice| self.held.extend_from_slice(slice));
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() && !std::mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_release(context))?;
        self.has_yielded = false;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl<T: Read + Unpin, Guard: Unpin> Read for Corked<T, Guard> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;
    use proptest::prelude::*;

    use super::*;

    /// A connection that takes a few bytes at a time, or none, and remembers each write.
    #[derive(Default)]
    struct Wire {
        writes: Vec<Vec<u8>>,
        /// How many bytes the next writes take: 0 is none for now. After these, all that they get.
        takes: Vec<usize>,
    }

    impl Write for Wire {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let most = self.takes.pop().unwrap_or(bytes.len());
            if most == 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let taken = &bytes[..most.min(bytes.len())];
            self.writes.push(taken.to_vec());
            Poll::Ready(Ok(taken.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn write(corked: &mut Corked<Wire>, mut bytes: &[u8]) {
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        while !bytes.is_empty() {
            if let Poll::Ready(written) = Pin::new(&mut *corked).poll_write(&mut context, bytes) {
                bytes = &bytes[written.unwrap()..];
            }
        }
    }

    fn poll_flush(corked: &mut Corked<Wire>) -> Poll<io::Result<()>> {
        let waker = noop_waker();
        Pin::new(corked).poll_flush(&mut Context::from_waker(&waker))
    }

    #[test]
    fn what_is_written_while_a_flush_waits_leaves_in_the_same_write() {
        let mut corked = Corked::new(Wire::default(), ());
        write(&mut corked, b"headers");
        assert!(poll_flush(&mut corked).is_pending());
        write(&mut corked, b"message");
        assert!(poll_flush(&mut corked).is_ready());
        assert_eq!(corked.io.writes, [b"headersmessage"]);
    }

    #[test]
    fn every_flush_waits_once_and_no_more() {
        let mut corked = Corked::new(Wire::default(), ());
        for _ in 0..2 {
            write(&mut corked, b"headers");
            assert!(poll_flush(&mut corked).is_pending());
            assert!(poll_flush(&mut corked).is_ready());
        }
        assert_eq!(corked.io.writes, [b"headers", b"headers"]);
    }

    #[test]
    fn a_large_message_is_not_held_back() {
        let mut corked = Corked::new(Wire::default(), ());
        write(&mut corked, b"headers");
        write(&mut corked, &[7; CAPACITY + 1]);
        assert_eq!(corked.io.writes, [b"headers".to_vec(), vec![7; CAPACITY + 1]]);
    }

    proptest! {
        #[test]
        fn all_bytes_arrive_once_and_in_order(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3 * CAPACITY / 2), any::<bool>()), 0..12),
            takes in prop::collection::vec(0usize..9000, 0..20),
        ) {
            let mut corked = Corked::new(Wire { takes, ..Wire::default() }, ());
            for (bytes, is_flushed) in &pieces {
                write(&mut corked, bytes);
                while *is_flushed && poll_flush(&mut corked).is_pending() {}
            }
            while poll_flush(&mut corked).is_pending() {}
            let written: Vec<_> = pieces.into_iter().flat_map(|(bytes, _)| bytes).collect();
            prop_assert_eq!(corked.io.writes.concat(), written);
        }
    }
}
