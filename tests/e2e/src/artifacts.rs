//! Archives of the demo service, and the server that hands them out.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

use trimaran_fixtures::http;

/// Writes `FOLDER/web-VERSION.tar.zst`: the service as `bin/web`, and `behaviour`, which it reads at its start.
pub fn pack(folder: &Path, version: &str, behaviour: &str, service: &Path) -> io::Result<PathBuf> {
    let path = folder.join(format!("web-{version}.tar.zst"));
    padded(&path, version, behaviour, service, 0)?;
    Ok(path)
}

/// As [`pack`], with a file of so many bytes that do not compress.
pub fn padded(path: &Path, version: &str, behaviour: &str, service: &Path, padding: usize) -> io::Result<()> {
    let mut archive = tar::Builder::new(zstd::Encoder::new(File::create(path)?, 3)?);
    add_file(&mut archive, "bin/web", 0o755, &std::fs::read(service)?)?;
    add_file(&mut archive, "behaviour", 0o644, behaviour.as_bytes())?;
    add_file(&mut archive, "version", 0o644, version.as_bytes())?;
    if padding > 0 {
        add_file(&mut archive, "padding", 0o644, &noise(padding))?;
    }
    archive.into_inner()?.finish()?.sync_all()
}

/// Writes an archive of text files, each with its name.
pub fn pack_files(path: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    let mut archive = tar::Builder::new(zstd::Encoder::new(File::create(path)?, 3)?);
    for (name, text) in files {
        add_file(&mut archive, name, 0o644, text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.sync_all()
}

fn add_file(
    archive: &mut tar::Builder<impl io::Write>,
    name: &str,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_cksum();
    archive.append_data(&mut header, name, bytes)
}

/// Bytes of a simple generator: the same each time, and nothing that a compressor finds anything in.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

/// The digest as `--artifact` wants it.
pub fn sha256(path: &Path) -> io::Result<String> {
    let digest = Sha256::digest(std::fs::read(path)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Serves the files of one folder over HTTP until it is stopped, and counts what it served.
pub struct ArtifactServer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl ArtifactServer {
    pub fn start(folder: &Path) -> io::Result<Self> {
        Self::listen(folder, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts at the same address after [`ArtifactServer::stop`].
    pub fn start_again(&mut self, folder: &Path) -> io::Result<()> {
        *self = Self::listen(folder, self.address)?;
        Ok(())
    }

    fn listen(folder: &Path, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (stopped, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count, folder) = (Arc::clone(&stopped), Arc::clone(&served), folder.to_owned());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (folder, count) = (folder.clone(), Arc::clone(&count));
                std::thread::spawn(move || {
                    if serve(stream, &folder).is_ok() {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Ok(Self { address, stopped, served, thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Files served whole so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }

    /// Ends the server; its port refuses connections from now on.
    pub fn stop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The connection wakes the accept; when it fails, the listener is gone already.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server thread does not panic");
        }
    }
}

impl Drop for ArtifactServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: TcpStream, folder: &Path) -> io::Result<()> {
    let path = http::path(&stream)?;
    let name = path.trim_start_matches('/');
    let file = if name.contains('/') { None } else { File::open(folder.join(name)).ok() };
    let Some(mut file) = file else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let length = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    io::copy(&mut file, &mut stream)?;
    stream.flush()
}
