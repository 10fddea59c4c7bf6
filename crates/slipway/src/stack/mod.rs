//! Stacks: the containers of a Compose project, which reach each other by name.
//!
//! One slipway in the background owns all of them, and the networks between them. `compose up` starts it, hands it a
//! plan, and hears what becomes of it; without `-d` it stays connected, and the stack ends when the connection does. A
//! later `up` hands its plan to the same owner, which changes what differs.
//!
//! ```text
//! <store>/stacks/<project>/control, lock     where the owner listens, and that it is there
//! ```
//!
//! ```text
//! protocol.rs   what is asked and answered
//! owner.rs      starts, replaces and ends containers in the order of what they depend on
//! waiting.rs    waits for containers: until they run, are well, or have done their work
//! joining.rs    gives containers their networks
//! networks.rs   who has which address, and knows which names
//! ```

mod joining;
mod networks;
pub(crate) mod owner;
pub(crate) mod protocol;
mod waiting;

use slipway_store::{ContainerFolder, Containers, FsError};

use crate::client_config;

/// Labels of the containers of a stack, as Compose has them.
pub(crate) const PROJECT: &str = "com.docker.compose.project";
pub(crate) const SERVICE: &str = "com.docker.compose.service";
pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
pub(crate) const ONE_OFF: &str = "com.docker.compose.oneoff";
pub(crate) const HASH: &str = "com.docker.compose.config-hash";

pub(crate) const IMAGE: &str = "com.docker.compose.image";
pub(crate) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
pub(crate) const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
pub(crate) const DEPENDS_ON: &str = "com.docker.compose.depends_on";
pub(crate) const VERSION: &str = "com.docker.compose.version";

/// The folder of a project's stack.
pub(crate) fn folder(project: &str) -> Result<ContainerFolder, FsError> {
    Containers::stacks_of_store(&client_config::store_root()).folder(project)
}
