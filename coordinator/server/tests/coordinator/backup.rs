//! Backups of a real coordinator: the whole state at one revision while it works, without keys and tokens, and proven by
//! a restore.

use std::path::Path;
use std::process::Output;

use trimaran_client::ClientError;
use trimaran_client::client::Client;
use trimaran_model::error_code;
use trimaran_store::{Options, Store};
use trimaran_wire::backup::{BackupCheck, BackupEnd, BackupHeader, BackupPart, BackupReader, BackupWriter};
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody, OperatorReply};
use trimaran_wire::v1::row::table;

use crate::world::{World, ask, change};

type Row = (Vec<u8>, Vec<u8>);

/// The bytes of a backup, checked as they come.
async fn back_up(client: &Client) -> Result<Vec<u8>, ClientError> {
    let mut replies = client.stream(OperatorBody::Backup).await?;
    let (mut check, mut bytes) = (BackupCheck::default(), Vec::new());
    while let Some(reply) = replies.next().await? {
        let OperatorReply::Backup(frame) = reply else { panic!("{reply:?}") };
        check.frame(&frame).expect("a frame of a backup");
        bytes.extend(frame);
    }
    check.finish().expect("whole");
    Ok(bytes)
}

fn parts(bytes: &[u8]) -> (BackupHeader, Vec<Row>, BackupEnd) {
    let mut reader = BackupReader::new(bytes);
    let header = reader.header().expect("a header");
    let mut rows = Vec::new();
    loop {
        match reader.next_part().expect("whole").expect("an end") {
            BackupPart::Rows(more) => rows.extend(more),
            BackupPart::End(end) => return (header, rows, end),
            BackupPart::Header(_) => panic!("a second header"),
        }
    }
}

fn made_of(header: &BackupHeader, rows: Vec<Row>, state_hash: u128) -> Vec<u8> {
    let (mut writer, first) = BackupWriter::begin(header);
    let chunk = writer.chunk(rows);
    [first, chunk, writer.end(state_hash)].concat()
}

/// What the proof of a file or directory says, and its exit code.
fn prove(world: &World, path: &Path) -> (Option<i32>, String) {
    let temporary = world.folder.path().join("temporary");
    std::fs::create_dir_all(&temporary).expect("a folder");
    let output: Output = std::process::Command::new(crate::world::BINARY)
        .arg("verify-backup")
        .arg(path)
        .arg("--temporary")
        .arg(&temporary)
        .output()
        .expect("the binary runs");
    let left = std::fs::read_dir(&temporary).expect("a folder").count();
    assert_eq!(left, 0, "nothing is left of the store that was made");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_beside_changes_is_one_revision_and_a_quiet_one_has_every_row() {
    let mut world = World::start().await;
    world.apply().await;
    let client = world.client("admin");
    let file = world.folder.path().join("b");
    let busy = async {
        for version in 0..40 {
            let run = ask(&client, change(), crate::deploy(&version.to_string())).await.expect("a run");
            let run = run["run"].as_str().expect("a name").to_owned();
            ask(&client, change(), OperatorBody::Cancel { run }).await.expect("canceled");
        }
    };
    let other = world.client("admin");
    let backups = async {
        let mut made = Vec::new();
        for _ in 0..6 {
            made.push(back_up(&other).await.expect("a backup"));
        }
        made
    };
    let ((), made) = tokio::join!(busy, backups);
    let mut revisions = Vec::new();
    for bytes in made {
        std::fs::write(&file, &bytes).expect("written");
        let (code, said) = prove(&world, &file);
        assert_eq!(code, Some(0), "{said}");
        revisions.push(parts(&bytes).0.meta.index);
    }
    assert!(revisions.is_sorted() && revisions.first() < revisions.last(), "{revisions:?}");

    let bytes = back_up(&client).await.expect("a backup");
    std::fs::write(&file, &bytes).expect("written");
    let status = ask(&client, None, OperatorBody::ClusterStatus).await.expect("a status");
    world.kill();
    let (header, rows, end) = parts(&bytes);
    let (store, _) = Store::open(&world.data().join("store"), &Options::default()).expect("it opens");
    assert_eq!(store.applied(), header.meta.index, "nothing happened since");
    assert_eq!(rows, store.load_rows().collect::<Result<Vec<Row>, _>>().expect("whole"));
    assert_eq!(status["members"][0]["hash"]["value"], format!("{:032x}", end.state_hash), "{status:#}");
    let (code, said) = prove(&world, &file);
    let revision = format!("revision {}", header.meta.index);
    assert!(code == Some(0) && said.contains(&revision) && said.contains("audit records"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_for_admins_and_has_no_key_and_no_token() {
    let world = World::start().await;
    world.apply().await;
    for role in ["viewer", "operator"] {
        world.operator(role, role).await;
        let refused = back_up(&world.client(role)).await.expect_err("it is for admins");
        let ClientError::Refused(refusal) = refused else { panic!("{refused:?}") };
        assert_eq!(refusal.code, error_code::DENIED.0, "{refusal:?}");
    }
    let token = world.token(EnrollOrder::Agent { name: "lab".to_owned() }).await;
    let bytes = back_up(&world.client("admin")).await.expect("a backup");
    let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(
        has(b"team-web") && has(b"BEGIN CERTIFICATE"),
        "the pipeline and the root's certificate are there"
    );
    assert!(!has(b"PRIVATE KEY") && !has(token.as_bytes()) && !has(world.token.as_bytes()));
    for key in ["issuer.key.pem", "key.pem"] {
        let key = std::fs::read_to_string(world.data().join("identity").join(key)).expect("a key");
        let line = key.lines().nth(1).expect("a line of the key");
        assert!(!has(line.as_bytes()));
    }
}

/// Who took backups, by the audit log.
async fn recorded(client: &Client) -> Vec<(String, String)> {
    let list =
        ask(client, None, OperatorBody::AuditList { since_seq: 0, limit: 1000 }).await.expect("a list");
    let records = list["records"].as_array().expect("a list").iter().filter(|it| it["verb"] == "back_up");
    let text = |it: &serde_json::Value, key: &str| it[key].as_str().expect("a text").to_owned();
    records.map(|it| (text(it, "identity"), text(it, "object"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_backup_is_a_record_in_the_backup_itself_and_also_when_it_breaks_off() {
    let world = World::start().await;
    world.apply().await;
    let client = world.client("admin");
    assert!(recorded(&client).await.is_empty());
    let (_, rows, _) = parts(&back_up(&client).await.expect("a backup"));
    let by = ("operator/admin".to_owned(), "coordinator/c1".to_owned());
    assert_eq!(recorded(&client).await, std::slice::from_ref(&by));
    let record = |(key, value): &Row| key[0] == table::AUDIT && value.windows(7).any(|it| it == b"back_up");
    assert_eq!(rows.iter().filter(|row| record(row)).count(), 1);

    let mut replies = client.stream(OperatorBody::Backup).await.expect("it begins");
    replies.next().await.expect("a frame");
    drop(replies);
    assert_eq!(recorded(&client).await, [by.clone(), by.clone()]);
    world.operator("op", "operator").await;
    back_up(&world.client("op")).await.expect_err("it is for admins");
    assert_eq!(recorded(&client).await, [by.clone(), by], "nothing left the cluster");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_backup_of_this_state_is_not_proven() {
    let world = World::start().await;
    world.apply().await;
    let client = world.client("admin");
    ask(&client, change(), crate::deploy("1")).await.expect("a run");
    let good = back_up(&client).await.expect("a backup");
    let (header, rows, end) = parts(&good);
    let folder = world.folder.path().join("backups");
    std::fs::create_dir(&folder).expect("a folder");
    let file = folder.join("b");
    let said_of = |bytes: &[u8], code: i32| {
        std::fs::write(&file, bytes).expect("written");
        let (found, said) = prove(&world, &file);
        assert_eq!(found, Some(code), "{said}");
        said
    };
    // Bytes that changed, and a tail that is missing.
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bytes in [&flipped[..], &good[..good.len() - 1], &good[..good.len() / 2], b"trimaran: v1\n"] {
        let said = said_of(bytes, 11);
        assert!(said.contains(&error_code::BACKUP.to_string()), "{said}");
    }
    // A file that is whole, of rows that are not those of the cluster.
    let hot = rows.iter().position(|row| row.0[0] < table::AUDIT && row.0[0] != table::META).expect("a row");
    let mut fewer = rows.clone();
    fewer.remove(hot);
    let said = said_of(&made_of(&header, fewer, end.state_hash), 1);
    assert!(said.contains("hash"), "{said}");
    let audit = rows.iter().position(|row| row.0[0] == table::AUDIT).expect("an audit record");
    let mut forged = rows.clone();
    forged.remove(audit);
    let said = said_of(&made_of(&header, forged, end.state_hash), 1);
    assert!(said.contains("the chain of audit records breaks"), "{said}");
    let other = BackupHeader { cluster_id: [9; 16], ..header.clone() };
    let said = said_of(&made_of(&other, rows.clone(), end.state_hash), 11);
    assert!(said.contains("another cluster"), "{said}");
    said_of(&made_of(&header, rows, end.state_hash), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_directory_the_newest_backup_is_proven() {
    let world = World::start().await;
    let client = world.client("admin");
    let folder = world.folder.path().join("backups");
    std::fs::create_dir(&folder).expect("a folder");
    let (code, said) = prove(&world, &folder);
    assert!(code == Some(11) && said.contains("there is no backup in"), "{said}");
    let mut last = 0;
    for name in ["2", "1"] {
        world.apply().await;
        let bytes = back_up(&client).await.expect("a backup");
        last = parts(&bytes).0.meta.index;
        std::fs::write(folder.join(name), bytes).expect("written");
    }
    std::fs::write(folder.join("notes.txt"), "of someone").expect("written");
    std::fs::write(folder.join("3.partial"), "half").expect("written");
    let (code, said) = prove(&world, &folder);
    assert!(code == Some(0) && said.contains(&format!("revision {last}")), "{said}");
    assert!(said.contains(&format!("{} can be restored", folder.join("1").display())), "{said}");
}
