//! `host apply SPEC`: bring a service to the release of a file.

use std::path::PathBuf;

use trimaran_host::Host;
use trimaran_language::{Diagnostic, SourceFile};
use trimaran_language::{HostSpec, compile_host_spec};
use trimaran_model::assignment::{HostAction, HostOrder};
use trimaran_model::error_code;
use trimaran_model::id::{ArtifactName, InstallationId, PipelineName, TargetName};
use trimaran_model::release::{Artifact, ArtifactLocation, HostRelease, Release, ReleaseWorkload};
use trimaran_wire::v1::release::WireRelease;

use super::order;
use super::problem::Problem;

/// Deploy the service of a file here and verify it; rolls back automatically when it does not become healthy.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran-agent host apply web.yaml --data-dir /var/lib/trimaran\n\nExits 0 when healthy, 12 when it went back, 3 when it failed, 11 for a bad file."
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) options: super::HostOptions,
    /// `{trimaran: v1, service: NAME, version: V, artifact: {path|file: …, sha256: HEX}, host: {…}}`.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// The installation's target where this host has several of the service; default: the one that is here.
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
}

pub(super) async fn run(args: &Args) -> Result<u8, Problem> {
    let spec = read(&args.spec)?;
    let (host, mut reports) = Host::open(args.options.settings()?).await?;
    let result = apply(args, spec, &host, &mut reports).await;
    host.close().await;
    result
}

async fn apply(
    args: &Args,
    spec: HostSpec,
    host: &Host,
    reports: &mut tokio::sync::mpsc::Receiver<trimaran_model::assignment::HostReport>,
) -> Result<u8, Problem> {
    let service = match &args.target {
        Some(target) => format!("{}@{target}", spec.service),
        None => spec.service.to_string(),
    };
    let pipeline = PipelineName::new(spec.service.as_str()).expect("services follow the same rule of names");
    let id = match order::find(host, &service).await? {
        Some(id) => id,
        None => InstallationId { pipeline, target: args.target.clone().unwrap_or_else(order::local_target) },
    };
    let release = release(&id, spec, &args.spec);
    let digest = WireRelease::from(&release).digest();
    let action = HostAction::Apply(HostOrder { digest, release });
    let shown = order::execute_order(host, reports, order::goal(&id, action)).await?;
    Ok(order::conclude(&args.options, &shown, digest).await)
}

/// A relative path of the artifact is meant from the file that names it.
fn release(id: &InstallationId, spec: HostSpec, file: &std::path::Path) -> Release {
    let location = match spec.location {
        ArtifactLocation::Path(path) => {
            let base = std::path::absolute(file).unwrap_or_default();
            let joined = base.parent().map(|base| base.join(&path));
            ArtifactLocation::Path(joined.map_or(path, |joined| joined.display().to_string()))
        }
        url @ ArtifactLocation::Url(_) => url,
    };
    let bundle = Artifact {
        name: ArtifactName::new("bundle").expect("the rule of names allows this"),
        version: spec.version.clone(),
        sha256: spec.sha256,
        location,
    };
    let host = HostRelease { bundle, process: spec.process, health: spec.health, lifecycle: spec.lifecycle };
    Release {
        pipeline: id.pipeline.clone(),
        target: id.target.clone(),
        version: spec.version,
        workload: ReleaseWorkload::Host(host),
    }
}

fn read(path: &std::path::Path) -> Result<HostSpec, Problem> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        Problem::new(error_code::UNREADABLE, format!("{name} can't be read"))
            .cause(error)
            .help("give a file like the one in `trimaran-agent host apply --help`")
    })?;
    compile_host_spec(SourceFile { name: &name, bytes: &bytes }).map_err(|found| bad_spec(&name, &found))
}

fn bad_spec(name: &str, found: &[Diagnostic]) -> Problem {
    let Some(first) = found.first() else {
        return Problem::new(error_code::BUG, format!("{name} is refused without a reason"));
    };
    let line = |it: &Diagnostic| {
        format!(
            "{}[{}]: {}\n  --> {}:{}:{}\n  help: {}",
            it.severity.as_str(),
            it.code,
            it.message,
            it.file,
            it.line,
            it.column,
            it.help
        )
    };
    Problem::new(first.code, first.message.clone())
        .help(first.help.clone())
        .at(&first.file, first.line, first.column)
        .findings(found.iter().map(line).collect())
}
