//! Runners at the control socket of a shim: few, short lines, none is waited for.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags};
use trimaran_model::limits::SHIM_CONNECTIONS_MAX;

use super::control::{Answer, REQUEST_BYTES_MAX, Request};

pub(super) struct Connections {
    listener: UnixListener,
    clients: Vec<Client>,
}

struct Client {
    stream: UnixStream,
    /// The beginning of a line.
    partial: Vec<u8>,
}

impl Connections {
    pub(super) fn new(listener: UnixListener) -> Self {
        Self { listener, clients: Vec::new() }
    }

    pub(super) fn poll_on<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.push(PollFd::new(&self.listener, PollFlags::IN));
        fds.extend(self.clients.iter().map(|client| PollFd::new(&client.stream, PollFlags::IN)));
    }

    /// Takes newcomers and reads requests; `ready` is in the order of [`Connections::poll_on`].
    pub(super) fn serve(&mut self, ready: &[bool]) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut ready = ready.iter();
        let newcomer = ready.next().is_some_and(|ready| *ready);
        self.clients.retain_mut(|client| match ready.next() {
            Some(true) => client.read(&mut requests),
            _ => true,
        });
        if newcomer {
            self.accept();
        }
        requests
    }

    /// Writes to everyone; who can't take a line now is gone.
    pub(super) fn broadcast(&mut self, answer: &Answer) {
        self.accept();
        let line = answer.line();
        self.clients.retain_mut(|client| client.stream.write_all(line.as_bytes()).is_ok());
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() >= SHIM_CONNECTIONS_MAX {
                // The one that is silent for longest gives way: a runner has one connection, and its latest
                // process counts.
                self.clients.remove(0);
            }
            if stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, partial: Vec::new() });
            }
        }
    }
}

impl Client {
    /// Reads what is there; false when the client is gone or speaks another language.
    fn read(&mut self, requests: &mut Vec<Request>) -> bool {
        let mut buffer = [0; REQUEST_BYTES_MAX];
        match self.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => self.partial.extend_from_slice(&buffer[..count]),
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line = self.partial.drain(..=end).collect::<Vec<u8>>();
            match std::str::from_utf8(&line[..end]).ok().and_then(Request::parse) {
                Some(request) => requests.push(request),
                None => return false,
            }
        }
        self.partial.len() <= REQUEST_BYTES_MAX
    }
}
