//! Where a coordinator is: its name, its directory, its addresses.

use std::net::SocketAddr;
use std::path::PathBuf;

use trimaran_model::feature_level::{Levels, SUPPORTED};
use trimaran_model::id::{CoordinatorName, InvalidName};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Place {
    /// The coordinator's name in the cluster.
    #[arg(long, value_parser = parse_name)]
    pub(crate) name: CoordinatorName,
    /// The coordinator's data directory, which no one else uses.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// UDP address for operators, agents and members.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Where others dial it, `HOST:PORT`, when that is not `--listen`.
    #[arg(long, value_name = "ADDR")]
    pub(crate) advertise: Option<String>,
    /// Behave as a build that supports no feature level above N, to hold an upgrade back.
    #[arg(long, env = "TRIMARAN_MAX_FEATURE_LEVEL", value_name = "N", value_parser = clap::value_parser!(u16).range(i64::from(SUPPORTED.min)..=i64::from(SUPPORTED.max)))]
    pub(crate) max_feature_level: Option<u16>,
}

impl Place {
    /// Where others dial it.
    pub(crate) fn address(&self) -> String {
        self.advertise.clone().unwrap_or_else(|| self.listen.to_string())
    }

    /// The feature levels that it supports.
    pub(crate) fn levels(&self) -> Levels {
        let max = self.max_feature_level.unwrap_or(SUPPORTED.max);
        SUPPORTED.at_most(max).expect("the argument is checked")
    }

    /// Whether [`Self::address`] is one that can be dialed from elsewhere.
    pub(crate) fn is_dialable(&self) -> bool {
        self.advertise.is_some() || !(self.listen.ip().is_unspecified() || self.listen.port() == 0)
    }
}

fn parse_name(text: &str) -> Result<CoordinatorName, String> {
    text.parse().map_err(|error: InvalidName| error.to_string())
}
