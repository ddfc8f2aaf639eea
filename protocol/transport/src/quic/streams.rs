//! Frames on one stream.
//!
//! A stream ends well only by [`FrameSender::finish`]; a sender that is dropped before resets its stream, so
//! that a reply which was cut short never looks whole. A frame that is too long, damaged or cut short is
//! counted and closes the session.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, StoppedError, VarInt, WriteError};
use trimaran_wire::frame::{Frame, FrameError, HEADER_BYTES, Header};

use crate::close::{CloseCode, CloseReason};
use crate::quic::connection::VerifiedConnection;

/// Bodies grow in steps of this size as their bytes arrive, whatever length was announced.
const BODY_STEP_BYTES: usize = 64 * 1024;

/// Why a frame was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("the session ended: {0}")]
    Closed(CloseReason),
    #[error("the other side wants no more of this stream: {0}")]
    Stopped(CloseCode),
    #[error("an earlier frame was cut short or the stream is finished")]
    Broken,
}

/// Why no frame was received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    #[error("the session ended: {0}")]
    Closed(CloseReason),
    #[error("the other side gave the stream up: {0}")]
    Reset(CloseCode),
    /// The session was closed for it.
    #[error("a frame is not valid")]
    Frame(#[from] FrameError),
}

/// Sends frames on one stream.
pub struct FrameSender {
    stream: SendStream,
    connection: Arc<VerifiedConnection>,
    body_max: usize,
    /// A frame is being written: true after a cancelled [`FrameSender::send`].
    partial: bool,
    finished: bool,
}

impl FrameSender {
    pub(crate) fn new(stream: SendStream, connection: Arc<VerifiedConnection>, body_max: usize) -> Self {
        Self { stream, connection, body_max, partial: false, finished: false }
    }

    /// Sends a frame; waits while the windows are full. When the returned future is dropped before its end the
    /// stream is broken: the next call answers so.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), SendError> {
        if frame.body.len() > self.body_max {
            return Err(SendError::TooLong { length: frame.body.len(), limit: self.body_max });
        }
        if self.partial || self.finished {
            return Err(SendError::Broken);
        }
        self.partial = true;
        let written = self.stream.write_chunk(Bytes::from(frame.encode())).await;
        written.map_err(|error| self.failed(error))?;
        self.partial = false;
        Ok(())
    }

    fn failed(&self, error: WriteError) -> SendError {
        match error {
            WriteError::Stopped(code) => SendError::Stopped(CloseCode::from_number(code.into_inner())),
            WriteError::ConnectionLost(error) => SendError::Closed(self.connection.reason(error)),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => SendError::Broken,
        }
    }

    /// Streams of a higher priority are sent first; 0 is the default.
    pub fn set_priority(&self, priority: i32) {
        // An error says that the stream ended, which the next call reports.
        drop(self.stream.set_priority(priority));
    }

    /// Ends the stream: the other side gets all frames and then the end.
    pub fn finish(mut self) {
        self.end();
    }

    /// Ends the stream and waits until the other side has all of it, or gave up or closed.
    pub async fn finish_and_wait(mut self) -> Result<(), SendError> {
        self.end();
        match self.stream.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(SendError::Stopped(CloseCode::from_number(code.into_inner()))),
            Err(StoppedError::ConnectionLost(error)) => Err(SendError::Closed(self.connection.reason(error))),
            Err(StoppedError::ZeroRttRejected) => Err(SendError::Broken),
        }
    }

    fn end(&mut self) {
        if !self.partial && !self.finished {
            // An error says that the stream was reset or finished before.
            drop(self.stream.finish());
            self.finished = true;
        }
    }

    /// Gives the stream up: the other side sees `code` instead of an end.
    pub fn reset(mut self, code: CloseCode) {
        drop(self.stream.reset(VarInt::from_u32(code.number())));
        self.finished = true;
    }

    /// Waits until the other side wants no more of this stream, or has all of a finished one.
    pub async fn stopped(&self) {
        drop(self.stream.stopped().await);
    }
}

impl Drop for FrameSender {
    fn drop(&mut self) {
        if !self.finished {
            // quinn would end the stream well.
            drop(self.stream.reset(VarInt::from_u32(CloseCode::Shutdown.number())));
        }
    }
}

/// Receives frames of one stream. Dropped before the end it asks the other side to stop.
pub struct FrameReceiver {
    stream: RecvStream,
    connection: Arc<VerifiedConnection>,
    body_max: usize,
    head: [u8; HEADER_BYTES],
    head_length: usize,
    header: Option<Header>,
    body: Vec<u8>,
}

impl FrameReceiver {
    pub(crate) fn new(stream: RecvStream, connection: Arc<VerifiedConnection>, body_max: usize) -> Self {
        Self {
            stream,
            connection,
            body_max,
            head: [0; HEADER_BYTES],
            head_length: 0,
            header: None,
            body: Vec::new(),
        }
    }

    /// The next frame within the limit of the protocol, or `None` at the end of the stream.
    ///
    /// May be dropped and called again (`select!`): what arrived so far is kept.
    pub async fn next(&mut self) -> Result<Option<Frame>, RecvError> {
        self.next_within(self.body_max).await
    }

    /// As [`Self::next`], with a lower limit for the body.
    pub async fn next_within(&mut self, body_max: usize) -> Result<Option<Frame>, RecvError> {
        let body_max = body_max.min(self.body_max);
        loop {
            let wanted = match self.header {
                None if self.head_length == HEADER_BYTES => {
                    let header = Header::decode(&self.head, body_max);
                    self.header = Some(header.map_err(|error| self.refuse(error))?);
                    continue;
                }
                None => HEADER_BYTES - self.head_length,
                Some(header) if self.body.len() == header.length => return self.complete(header).map(Some),
                Some(header) => (header.length - self.body.len()).min(BODY_STEP_BYTES),
            };
            let chunk = self.stream.read_chunk(wanted, true).await.map_err(|error| self.failed(error))?;
            let Some(chunk) = chunk else { return self.ended().map(|()| None) };
            match self.header {
                None => {
                    let end = self.head_length + chunk.bytes.len();
                    self.head[self.head_length..end].copy_from_slice(&chunk.bytes);
                    self.head_length = end;
                }
                Some(header) => {
                    if self.body.capacity() - self.body.len() < chunk.bytes.len() {
                        // Doubling up to the announced length and never beyond it.
                        let step = self.body.len().max(BODY_STEP_BYTES);
                        self.body.reserve_exact(step.min(header.length - self.body.len()));
                    }
                    self.body.extend_from_slice(&chunk.bytes);
                }
            }
        }
    }

    fn complete(&mut self, header: Header) -> Result<Frame, RecvError> {
        self.header = None;
        self.head_length = 0;
        let body = std::mem::take(&mut self.body);
        header.check(body).map_err(|error| self.refuse(error))
    }

    /// The end of the stream is good between two frames only.
    fn ended(&mut self) -> Result<(), RecvError> {
        if self.head_length == 0 {
            return Ok(());
        }
        let have = self.head_length + self.body.len();
        let need = HEADER_BYTES + self.header.map_or(0, |header| header.length);
        Err(self.refuse(FrameError::Truncated { have, need }))
    }

    fn refuse(&self, error: FrameError) -> RecvError {
        self.connection.refuse_frame(&error.to_string());
        RecvError::Frame(error)
    }

    fn failed(&self, error: ReadError) -> RecvError {
        match error {
            ReadError::Reset(code) => RecvError::Reset(CloseCode::from_number(code.into_inner())),
            ReadError::ConnectionLost(error) => RecvError::Closed(self.connection.reason(error)),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
                RecvError::Reset(CloseCode::Done)
            }
        }
    }

    /// Tells the other side that no more of the stream is wanted.
    pub fn stop(mut self, code: CloseCode) {
        // An error says that the stream ended.
        drop(self.stream.stop(VarInt::from_u32(code.number())));
    }
}
