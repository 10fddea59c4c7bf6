//! The flags of `volume`: folders that outlive the containers that use them.

use clap::{Args, Subcommand};

/// Named volumes of `run` and of Compose.
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Make a volume, and print its name
    Create(CreateArgs),
    /// Show what is known of volumes
    Inspect {
        #[arg(required = true, value_name = "VOLUME")]
        volumes: Vec<String>,
        /// How to write each volume (json, TEMPLATE)
        #[arg(short, long, default_value = "", hide_default_value = true)]
        format: String,
    },
    /// List volumes
    #[command(name = "ls", alias = "list")]
    List {
        /// Only volumes that this holds for (name=PART, dangling=true)
        #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = crate::cache_filter::check_form)]
        filters: Vec<String>,
        /// How to write the list (table, json, "table TEMPLATE", TEMPLATE)
        #[arg(long, default_value = "", hide_default_value = true)]
        format: String,
        /// Print names only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove volumes that no container uses: those without a name of their own
    Prune {
        /// Also volumes that people named
        #[arg(short, long)]
        all: bool,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
    /// Remove volumes, with all that is in them
    #[command(name = "rm", alias = "remove")]
    Remove {
        #[arg(required = true, value_name = "VOLUME")]
        volumes: Vec<String>,
        /// What is not there is no failure
        #[arg(short, long)]
        force: bool,
    },
}

/// The flags of `volume create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name; a long number if there is none
    #[arg(value_name = "VOLUME")]
    pub(crate) name: Option<String>,
    /// What keeps it; there is nothing but folders of this machine
    #[arg(short, long, default_value = "local")]
    pub(crate) driver: String,
    /// Without effect; nothing is remembered of a volume but its name
    #[arg(long = "label")]
    labels: Vec<String>,
}
