//! `trimaran verdict PATH…`: whether objects are healthy, doomed or not done yet, judged from files.

mod show;
mod subject;

use std::path::Path;

use clap::builder::PossibleValuesParser;
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::judgment::Judgment;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge;
use trimaran_model::error_code;
use trimaran_model::limits::RULE_FILE_BYTES_MAX;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;

use self::subject::Subject;
use crate::error::CliError;
use crate::manifests::{self, Manifest};
use crate::ui::{OutputForm, Ui};

/// Judge Kubernetes objects from files: healthy, progressing, degraded and why; asks no server.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kubectl get deploy,rs,pods,events -n shop -o yaml | trimaran verdict -\n  trimaran verdict live/ --subject Deployment/web --since 2026-03-01T10:00:00Z -o json\n  trimaran verdict live/ --fail-on degraded,missing,unknown"
)]
pub(crate) struct Args {
    /// Files or folders of YAML or JSON: objects with what belongs to them (ReplicaSets, pods, nodes, endpoint
    /// slices, events); `-` is stdin.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    /// The object to judge, such as `Deployment/web`; without it every object that no other one owns.
    #[arg(long, value_name = "KIND/NAME")]
    subject: Vec<Subject>,
    /// The namespace of the subject, and of objects that do not say theirs.
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,
    /// The time to judge at; the real one when left out.
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    now: Option<WallTime>,
    /// The start of the deploy: older events and restarts are not evidence. The creation of the revision that is
    /// rolled out when left out.
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    since: Option<WallTime>,
    /// Verdicts that end the command with code 3.
    #[arg(long, value_name = "VERDICT", value_delimiter = ',', value_parser = verdicts())]
    fail_on: Vec<String>,
    /// A folder with more rules for custom resources (`*.yaml`); they win over those that come with Trimaran.
    #[arg(long, value_name = "DIR")]
    rules: Option<String>,
}

/// One judged subject.
struct Judged {
    subject: String,
    /// `None` for objects of the whole cluster.
    namespace: Option<String>,
    judgment: Judgment,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let rules = rules(args.rules.as_deref())?;
    let manifests = manifests::load(&args.paths)?;
    manifests.iter().try_for_each(check_is_object)?;
    let now = args.now.unwrap_or_else(now);
    let snapshot = Snapshot::new(manifests.iter().map(|manifest| &manifest.value));
    let judged = |object: Object<'_>| Judged {
        subject: object.display(),
        namespace: namespace_of(object, args.namespace.as_deref()),
        judgment: judge(&snapshot, object, &rules, now, args.since),
    };
    let is_in_namespace = |object: &Object<'_>| {
        let namespace = namespace_of(*object, args.namespace.as_deref());
        namespace.is_none() || args.namespace.is_none() || namespace == args.namespace
    };
    let mut verdicts: Vec<Judged> = Vec::new();
    for subject in &args.subject {
        let found = snapshot.objects().filter(|object| subject.names(*object)).filter(is_in_namespace);
        let before = verdicts.len();
        verdicts.extend(found.map(judged));
        if verdicts.len() == before {
            verdicts.push(missing(subject, args.namespace.clone()));
        }
    }
    if args.subject.is_empty() {
        verdicts.extend(snapshot.roots().filter(is_in_namespace).map(judged));
    }
    print(&verdicts, ui);
    let fails = |it: &Judged| args.fail_on.iter().any(|name| name == it.judgment.verdict.as_str());
    Ok(if verdicts.iter().any(fails) { 3 } else { 0 })
}

fn print(verdicts: &[Judged], ui: &Ui) {
    match ui.form() {
        OutputForm::Table => ui.print(&show::lines(verdicts, &ui.view()).join("\n")),
        OutputForm::Jsonl => {
            let lines: Vec<String> = verdicts.iter().map(|it| show::document(it).to_string()).collect();
            ui.print(&lines.join("\n"));
        }
        _ => ui.document(&verdicts.iter().map(show::document).collect()),
    }
}

fn namespace_of(object: Object<'_>, default: Option<&str>) -> Option<String> {
    if object.is_cluster_scoped() {
        return None;
    }
    let own = Some(object.namespace()).filter(|namespace| !namespace.is_empty());
    own.or(default).map(str::to_owned)
}

fn missing(subject: &Subject, namespace: Option<String>) -> Judged {
    let message = format!("{} is not in the files", subject.display());
    Judged { subject: subject.display(), namespace, judgment: Judgment::missing(message) }
}

/// A text or list where an object belongs is no object at all; one without kind or name is judged `unknown`.
fn check_is_object(manifest: &Manifest) -> Result<(), CliError> {
    if manifest.value.is_object() {
        return Ok(());
    }
    let place = manifest.place("");
    Err(CliError::new(
        error_code::UNREADABLE,
        format!("`{}` has a document that is no object", manifest.file()),
    )
    .cause("A Kubernetes object is a map with apiVersion, kind and metadata.")
    .at(manifest.file(), place.line as usize, place.column as usize))
}

/// The rules that come with Trimaran and those of a folder, by path, so that the order is always the same.
fn rules(folder: Option<&str>) -> Result<RuleSet, CliError> {
    let mut rules = RuleSet::builtin();
    let Some(folder) = folder else { return Ok(rules) };
    for file in rule_files(folder)? {
        let text = read_rule(&file)?;
        rules.add(&file, &text).map_err(|error| {
            CliError::new(error_code::UNREADABLE, error.what.clone())
                .cause("A rule for custom resources is not as it has to be.")
                .help(error.help.clone())
                .at(error.file.clone(), error.line as usize, error.column as usize)
        })?;
    }
    Ok(rules)
}

fn unreadable(path: &Path, cause: impl std::fmt::Display) -> CliError {
    let path = path.display();
    CliError::new(error_code::UNREADABLE, format!("`{path}` can't be read")).cause(cause.to_string())
}

/// Every `*.yaml` below a folder, sorted.
fn rule_files(folder: &str) -> Result<Vec<String>, CliError> {
    let mut open = vec![Path::new(folder).to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, error))?;
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&folder, error))?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            // Links are not followed, so that a circle of them ends.
            if path.is_dir() && !path.is_symlink() && !hidden {
                open.push(path);
            } else if path.extension().is_some_and(|it| it == "yaml" || it == "yml") && !hidden {
                files.push(path.display().to_string());
            }
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(unreadable(Path::new(folder), "There is no `*.yaml` in the folder."));
    }
    Ok(files)
}

fn read_rule(file: &str) -> Result<String, CliError> {
    use std::io::Read as _;
    let path = Path::new(file);
    let mut text = String::new();
    let bound = RULE_FILE_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(bound).read_to_string(&mut text))
        .map_err(|error| unreadable(path, error))?;
    Ok(text)
}

fn now() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}

fn time(text: &str) -> Result<WallTime, String> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| "give a time such as 2026-03-01T10:00:00Z".to_owned())?;
    Ok(WallTime(time.as_millisecond()))
}

fn verdicts() -> PossibleValuesParser {
    PossibleValuesParser::new(Verdict::ALL.map(Verdict::as_str))
}
