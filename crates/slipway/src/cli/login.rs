//! What can be typed to log in to registries and out of them (`spec/cli.md` section 10).

use clap::Args;

/// The flags of `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// A registry; Docker Hub if not given
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) server: String,
    /// Password or access token
    #[arg(short, long)]
    pub(crate) password: Option<String>,
    /// Take the password or access token from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// User name
    #[arg(short, long)]
    pub(crate) username: Option<String>,
}

/// The arguments of `logout`.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// A registry; Docker Hub if not given
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) server: String,
}
