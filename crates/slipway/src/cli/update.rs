//! The flags of `slipway update`.

use clap::Args;

/// The flags of `update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Which pins to move: names as the Dockerfile or slipway.lock has them; all if none is given
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The Dockerfile beside which slipway.lock lies (default: ./Dockerfile)
    #[arg(short = 'f', long, default_value = "", hide_default_value = true)]
    pub(crate) file: String,
    /// Secret for hosts that want one (id=GIT_AUTH_TOKEN[,src=/local/secret])
    #[arg(long = "secret")]
    pub(crate) secrets: Vec<String>,
    /// SSH agent socket or keys for git (default|<id>[=<socket>|<key>[,<key>]])
    #[arg(long = "ssh")]
    pub(crate) ssh: Vec<String>,
}
