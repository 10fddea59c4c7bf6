//! `slipway imagetools`: images where they are, without the store (`spec/cli.md` section 8).
//!
//! ```text
//! location.rs  a registry or an OCI layout, read and written
//! source.rs    what was typed to be put together
//! index.rs     the index that comes of it
//! copy.rs      from one place to another
//! create.rs    the command that does all this
//! inspect.rs   what an image holds: configs and attestations, for templates
//! view.rs      the same for people
//! ```

mod copy;
pub(crate) mod create;
pub(crate) mod index;
mod inspect;
pub(crate) mod location;
pub(crate) mod source;
mod view;

use crate::cli::imagetools::{ImagetoolsCommand, InspectArgs, ManifestCommand};
use crate::report::CommandError;

/// Does what was asked for.
pub(crate) fn run(command: &ImagetoolsCommand) -> Result<(), CommandError> {
    match command {
        ImagetoolsCommand::Create(args) => create::run(args).map_err(|error| CommandError::Options(error.into())),
        ImagetoolsCommand::Inspect(args) => inspect::run(args).map_err(|error| CommandError::Options(error.into())),
    }
}

/// `docker manifest inspect`: scripts ask with it whether a registry has an image.
pub(crate) fn print_manifest(ManifestCommand::Inspect { name, .. }: &ManifestCommand) -> Result<(), CommandError> {
    let args = InspectArgs { name: name.clone(), format: String::new(), raw: true };
    inspect::run(&args).map_err(|error| CommandError::Options(error.into()))
}
