//! `trimaran cluster backup create|list|verify`: all that the cluster has stored at one revision, as a file.
//!
//! `create` checks every byte as it comes and leaves a whole file or none. Not here: whether a backup can be restored, which
//! `trimaran-coordinator verify-backup` shows.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use trimaran_client::client::Replies;
use trimaran_model::error_code;
use trimaran_model::id::{Digest, Incarnation, cluster_name};
use trimaran_model::text::with_sources;
use trimaran_model::time::WallTime;
use trimaran_wire::backup::{
    BACKUP_PARTIAL, BackupCheck, BackupEnd, BackupError, BackupHeader, BackupPart, BackupReader,
};
use trimaran_wire::document::{BackupDocument, BackupList, BackupListed, Document, HashDocument, rfc3339};
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply};

use crate::error::CliError;
use crate::remote::{Remote, client_error, next_reply};
use crate::ui::{Cell, OutputForm, Table, Ui, View};

/// How often progress is shown on a terminal.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// How long a backup is asked for that can't begin now, and the pause between two attempts.
const REPEAT_TIMEOUT: Duration = Duration::from_secs(5);
const REPEAT_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Write a backup of the cluster to a new file, from any coordinator and without stopping anything.
    #[command(
        after_help = "Examples:\n  trimaran cluster backup create monday.backup\n  trimaran cluster backup create monday.backup -o json"
    )]
    Create {
        /// The file to write; an existing one is never overwritten.
        file: PathBuf,
    },
    /// List the backups of a directory, the newest first.
    #[command(after_help = "Examples:\n  trimaran cluster backup list /var/backups/trimaran")]
    List {
        /// A directory with backups.
        #[arg(default_value = ".", value_name = "DIR")]
        directory: PathBuf,
    },
    /// Check every byte of a backup; no cluster is asked.
    #[command(
        after_help = "Examples:\n  trimaran cluster backup verify monday.backup\n  trimaran cluster backup verify monday.backup -o json"
    )]
    Verify {
        /// A backup.
        file: PathBuf,
    },
}

pub(super) fn run(verb: &Verb, ui: &Ui) -> Result<u8, CliError> {
    match verb {
        Verb::Create { file } => {
            print(&create(file, ui)?, ui);
            if ui.form() == OutputForm::Table {
                let shown = file.display();
                ui.note(&format!(
                    "`trimaran-coordinator verify-backup {shown}` shows that it can be restored; keep the cluster's root \
                     key beside it, but not in the same place"
                ));
            }
        }
        Verb::Verify { file } => print(&verify(file)?, ui),
        Verb::List { directory } => show(&list(directory)?, ui, |list| ui.table(&table(list))),
    }
    Ok(0)
}

fn show<D: Document>(document: &D, ui: &Ui, text: impl FnOnce(&D)) {
    match ui.form() {
        OutputForm::Table => text(document),
        _ => ui.document(&serde_json::from_str(&document.to_json()).expect("a document is JSON")),
    }
}

fn print(backup: &BackupDocument, ui: &Ui) {
    show(backup, ui, |backup| ui.print(&text(backup, &ui.view()).join("\n")));
}

fn text(it: &BackupDocument, view: &View) -> Vec<String> {
    let place = format!(
        "{}: cluster {}, epoch {}, revision {}, made by {} at {}",
        it.file, it.cluster_id, it.epoch, it.revision, it.coordinator, it.at
    );
    let size = format!("{} rows, {} bytes, state hash {}", it.rows, it.bytes, it.hash.value);
    let lines = [place, size, format!("sha256 {}", it.sha256)];
    lines.iter().flat_map(|line| view.wrap("", "  ", line)).collect()
}

fn table(list: &BackupList) -> Table {
    let mut table = Table::new(&["FILE", "AT", "REVISION", "EPOCH", "BYTES", "CLUSTER"]);
    for it in &list.backups {
        table.row([
            Cell::from(&it.file),
            Cell::Time(Some(it.at.clone())),
            it.revision.to_string().into(),
            it.epoch.to_string().into(),
            it.bytes.to_string().into(),
            Cell::from(&it.cluster_id),
        ]);
    }
    table
}

fn create(file: &Path, ui: &Ui) -> Result<BackupDocument, CliError> {
    if file.symlink_metadata().is_ok() {
        return Err(exists(file));
    }
    let remote = Remote::new(ui)?;
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(BACKUP_PARTIAL);
    let partial = PathBuf::from(name);
    let made = remote.block_on(receive(&remote, &partial, ui)).and_then(|received| {
        keep(&partial, file)?;
        Ok(received.document(file))
    });
    if made.is_err() {
        // One that stays is no backup by its name, and is written anew the next time.
        let _ = fs::remove_file(&partial);
    }
    made
}

/// What came of a backup.
struct Received {
    header: BackupHeader,
    end: BackupEnd,
    bytes: u64,
    sha256: [u8; 32],
}

impl Received {
    fn document(self, file: &Path) -> BackupDocument {
        let Self { header, end, bytes, sha256 } = self;
        BackupDocument {
            file: file.display().to_string(),
            cluster_id: cluster_name(&header.cluster_id),
            incarnation: Incarnation(header.incarnation).to_string(),
            epoch: header.epoch,
            revision: header.meta.index,
            at: rfc3339(WallTime(header.wall_ms)),
            coordinator: header.coordinator,
            build: header.build,
            rows: end.rows,
            bytes,
            sha256: Digest(sha256).to_string(),
            hash: HashDocument { revision: header.meta.index, value: format!("{:032x}", end.state_hash) },
        }
    }
}

/// Writes the frames of a coordinator to a file, checked and synced. It is readable by its owner alone, since it has
/// everything in it that viewers of the cluster may not all see.
async fn receive(remote: &Remote, partial: &Path, ui: &Ui) -> Result<Received, CliError> {
    let (mut replies, first) = begin(remote).await?;
    let failed = |error: io::Error| unwritten(partial, &error);
    // What an earlier one that was killed has left may have another mode.
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let opened = File::options().write(true).create_new(true).mode(0o600).open(partial);
    let mut out = BufWriter::new(opened.map_err(failed)?);
    let (mut check, mut sha256) = (BackupCheck::default(), Sha256::new());
    let (mut bytes, mut progress) = (0, Progress::new(ui));
    let mut header = None;
    let mut next = Some(first);
    while let Some(frame) = next {
        let part = check.frame(&frame).map_err(|error| not_whole("what came", &error))?;
        out.write_all(&frame).map_err(failed)?;
        sha256.update(&frame);
        bytes += frame.len() as u64;
        progress.show(bytes);
        match part {
            BackupPart::Header(found) => header = Some(found),
            BackupPart::Rows(_) => {}
            BackupPart::End(end) => {
                progress.end();
                out.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
                let header = *header.expect("a backup begins with its header");
                return Ok(Received { header, end, bytes, sha256: sha256.finalize().into() });
            }
        }
        next = next_frame(&mut replies).await?;
    }
    Err(broken_off())
}

/// The first frame; asked for again while there is an election, or another backup.
async fn begin(remote: &Remote) -> Result<(Replies, Vec<u8>), CliError> {
    let until = Instant::now() + REPEAT_TIMEOUT;
    loop {
        let mut replies = remote.client().stream(OperatorBody::Backup).await.map_err(client_error)?;
        match next_frame(&mut replies).await {
            Ok(Some(first)) => return Ok((replies, first)),
            Ok(None) => return Err(broken_off()),
            Err(error) if is_passing(&error) && Instant::now() < until => {
                tokio::time::sleep(REPEAT_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_passing(error: &CliError) -> bool {
    [error_code::NO_LEADER, error_code::BUSY].contains(&error.code)
}

async fn next_frame(replies: &mut Replies) -> Result<Option<Vec<u8>>, CliError> {
    match next_reply(replies).await? {
        Some(OperatorReply::Backup(frame)) => Ok(Some(frame)),
        Some(_) => Err(CliError::new(error_code::BUG, "the coordinator's answer is no backup")),
        None => Ok(None),
    }
}

fn broken_off() -> CliError {
    CliError::new(error_code::UNREACHABLE, "the backup broke off, and nothing of it was kept")
        .cause("The coordinator ended, or it found that its own rows are damaged.")
        .help("run it again, with `--endpoint` from another coordinator")
}

/// How much came, on one line of a terminal.
struct Progress<'a> {
    ui: &'a Ui,
    shown: Option<Instant>,
}

impl<'a> Progress<'a> {
    fn new(ui: &'a Ui) -> Self {
        Self { ui, shown: None }
    }

    fn show(&mut self, bytes: u64) {
        if !self.ui.stderr.redraws || self.shown.is_some_and(|at| at.elapsed() < PROGRESS_INTERVAL) {
            return;
        }
        self.ui.raw(&format!("\r{} MiB", bytes >> 20));
        self.shown = Some(Instant::now());
    }

    fn end(&self) {
        if self.shown.is_some() {
            self.ui.raw("\r\u{1b}[K");
        }
    }
}

/// Gives the file its name, unless another one has it by now.
fn keep(partial: &Path, file: &Path) -> Result<(), CliError> {
    let failed = |error: io::Error| unwritten(file, &error);
    match fs::hard_link(partial, file) {
        Ok(()) => fs::remove_file(partial).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(file)),
        // A file system without links.
        Err(_) => fs::rename(partial, file).map_err(failed)?,
    }
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new("."))).and_then(|it| it.sync_all()).map_err(failed)
}

fn verify(file: &Path) -> Result<BackupDocument, CliError> {
    let shown = file.display().to_string();
    let bad = |error: BackupError| not_whole(&shown, &error);
    let mut reader = BackupReader::new(open(file)?);
    let header = reader.header().map_err(bad)?;
    let mut end = None;
    while let Some(part) = reader.next_part().map_err(bad)? {
        if let BackupPart::End(found) = part {
            end = Some(found);
        }
    }
    let end = end.expect("a backup is whole with its end alone");
    let (bytes, sha256) = reader.read_so_far();
    Ok(Received { header, end, bytes, sha256 }.document(file))
}

fn list(directory: &Path) -> Result<BackupList, CliError> {
    let failed = |error: io::Error| unread(directory, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !path.is_file() || path.extension().is_some_and(|it| it == BACKUP_PARTIAL) {
            continue;
        }
        let header = match BackupReader::new(open(&path)?).header() {
            Ok(header) => header,
            Err(BackupError::NoBackup) => continue,
            Err(error) => return Err(not_whole(&path.display().to_string(), &error)),
        };
        let bytes = path.metadata().map_err(failed)?.len();
        found.push((header.wall_ms, listed(&path, header, bytes)));
    }
    found.sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.file.cmp(&b.file)));
    Ok(BackupList { backups: found.into_iter().map(|(_, listed)| listed).collect() })
}

fn listed(path: &Path, header: BackupHeader, bytes: u64) -> BackupListed {
    BackupListed {
        file: path.display().to_string(),
        cluster_id: cluster_name(&header.cluster_id),
        incarnation: Incarnation(header.incarnation).to_string(),
        epoch: header.epoch,
        revision: header.meta.index,
        at: rfc3339(WallTime(header.wall_ms)),
        coordinator: header.coordinator,
        bytes,
    }
}

fn open(file: &Path) -> Result<BufReader<File>, CliError> {
    File::open(file).map(BufReader::new).map_err(|error| unread(file, &error))
}

fn exists(file: &Path) -> CliError {
    CliError::new(error_code::USAGE, format!("`{}` exists already", file.display()))
        .cause("A backup is never written over another file.")
        .help("name another file")
}

fn unwritten(file: &Path, error: &io::Error) -> CliError {
    CliError::new(error_code::USAGE, format!("`{}` can't be written", file.display()))
        .cause(error.to_string())
        .help("name a file in a directory that can be written to and has space")
}

fn unread(file: &Path, error: &io::Error) -> CliError {
    CliError::new(error_code::BACKUP, format!("`{}` can't be read", file.display())).cause(error.to_string())
}

fn not_whole(what: &str, error: &BackupError) -> CliError {
    CliError::new(error_code::BACKUP, format!("{what} is no whole backup")).cause(with_sources(error))
}

#[cfg(test)]
mod tests {
    use trimaran_wire::backup::BackupWriter;
    use trimaran_wire::raft::SnapshotMeta;

    use super::*;
    use crate::samples;

    fn header(wall_ms: i64) -> BackupHeader {
        BackupHeader {
            cluster_id: [0xab; 16],
            incarnation: 7,
            epoch: 1,
            meta: SnapshotMeta { index: 812, term: 3, ..SnapshotMeta::default() },
            wall_ms,
            coordinator: "c1".to_owned(),
            build: "0.1.0".to_owned(),
            root_pem: String::new(),
        }
    }

    /// A backup with one row.
    fn whole(wall_ms: i64) -> Vec<u8> {
        let (mut writer, first) = BackupWriter::begin(&header(wall_ms));
        let chunk = writer.chunk(vec![(b"k".to_vec(), b"v".to_vec())]);
        [first, chunk, writer.end(5)].concat()
    }

    #[test]
    fn a_directory_lists_its_backups_by_age_and_passes_over_other_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("written");
        write("new", &whole(2000));
        write("old", &whole(1000));
        write("newest.partial", &whole(3000)[..50]);
        write("notes.txt", b"a file of someone");
        let found = list(folder.path()).expect("listed").backups;
        let names: Vec<_> = found.iter().map(|it| it.file.rsplit('/').next()).collect();
        assert_eq!(names, [Some("new"), Some("old")]);
        assert_eq!((found[0].revision, found[0].bytes), (812, whole(2000).len() as u64));
    }

    #[test]
    fn a_backup_is_verified_to_its_last_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b");
        fs::write(&file, whole(1000)).expect("written");
        let found = verify(&file).expect("whole");
        assert_eq!((found.rows, found.revision, found.at.as_str()), (1, 812, "1970-01-01T00:00:01.000Z"));
        assert_eq!(found.sha256, Digest(Sha256::digest(whole(1000)).into()).to_string());
        for bytes in [&whole(1000)[..100], &[&whole(1000)[..], b"x"].concat(), b"trimaran: v1\n", b""] {
            fs::write(&file, bytes).expect("written");
            let error = verify(&file).expect_err("it is not whole");
            assert_eq!((error.code, error.exit()), (error_code::BACKUP, 11), "{error:?}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_kept_also_when_it_came_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let (partial, file) = (folder.path().join("b.partial"), folder.path().join("b"));
        fs::write(&partial, "new").expect("written");
        keep(&partial, &file).expect("kept");
        assert!(!partial.exists());
        fs::write(&partial, "newer").expect("written");
        assert_eq!(keep(&partial, &file).expect_err("refused").exit(), 2);
        assert_eq!(fs::read_to_string(&file).expect("there"), "new");
    }

    #[test]
    fn backups_fit_a_narrow_terminal_and_are_whole_in_a_pipe() {
        let end = BackupEnd { chunks: 5, rows: 1204, state_hash: 5, sha256: [0; 32] };
        let received = Received { header: header(1000), end, bytes: 3_210_456, sha256: [0xcd; 32] };
        let backup = received.document(Path::new("monday.backup"));
        let cluster = format!("c{}", "ab".repeat(16));
        let narrow = text(&backup, &View::terminal(60));
        assert!(narrow.iter().all(|line| line.len() <= 66) && narrow.len() > 4, "{narrow:?}");
        let at = "1970-01-01T00:00:01.000Z";
        let expected = [
            format!("monday.backup: cluster {cluster}, epoch 1, revision 812, made by c1 at {at}"),
            format!("1204 rows, 3210456 bytes, state hash {:032x}", 5),
            format!("sha256 {}", "cd".repeat(32)),
        ];
        assert_eq!(text(&backup, &View::pipe()), expected);
    }

    #[test]
    fn the_list_of_backups_fits_any_terminal() {
        let header = header(1_767_225_600_000);
        let list = BackupList { backups: vec![listed(Path::new("monday.backup"), header, 3_210_456)] };
        insta::assert_snapshot!(samples::at_widths(|view| table(&list).text(view)));
    }
}
