//! `--output`, `--push`, `--load` and `--tag` (`spec/cli.md` section 4.3, `spec/dockerfile.md` section 8).

mod annotations;
mod image;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use slipway_oci::{PlatformParseError, Reference, ReferenceParseError};

use super::csv::{self, CsvError};
use super::{Moment, PathKind, Surroundings, parse_bool};
use crate::request::{Annotation, Destination, FilesOutput, ImageOutput, Output};

pub use annotations::{check as check_annotations, of_flags as parse_annotations};

/// Why an output is refused.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error(transparent)]
    Csv(#[from] CsvError),
    #[error("invalid value {field}")]
    NoPair { field: String },
    #[error("type is required for output")]
    NoType,
    #[error("local and tar exporters are incompatible with image ID file")]
    ImageIdOfFiles,
    #[error("dest is required for {kind} exporter")]
    NoDest { kind: &'static str },
    #[error("dest cannot be stdout for {kind} exporter")]
    FolderOnStdout { kind: &'static str },
    #[error("destination directory {dest} is a file")]
    FileInTheWay { dest: String },
    #[error("destination file {dest} is a directory")]
    FolderInTheWay { dest: String },
    #[error("dest file is required for {kind} exporter. refusing to write to console")]
    Console { kind: &'static str },
    #[error("multiple outputs configured to write to stdout")]
    StdoutTwice,
    #[error("local output mode=delete for destination {dest:?} requires --allow=buildx.local.delete")]
    DeleteNotAllowed { dest: String },
    #[error("invalid local exporter mode {mode:?}")]
    LocalMode { mode: String },
    #[error("tag is needed when pushing to registry")]
    PushWithoutName,
    #[error("docker exporter does not support exporting manifest lists, use the oci exporter instead")]
    DockerIndex,
    #[error("invalid tag {tag:?}: {source}")]
    Tag { tag: String, source: ReferenceParseError },
    #[error("parse annotations: invalid annotation {text:?}, expected key=value")]
    Annotation { text: String },
    #[error(
        "parse annotations: invalid annotation type {text:?}, expected type and optional platform in square brackets"
    )]
    AnnotationType { text: String },
    #[error("parse annotations: unknown annotation type {kind:?}")]
    UnknownAnnotationType { kind: String },
    #[error("parse annotations: invalid platform {text:?}: {source}")]
    AnnotationPlatform { text: String, source: PlatformParseError },
    #[error("unrecognized annotation type {kind}")]
    UnknownAttribute { kind: String },
    #[error("exporter {kind:?} could not be found")]
    UnknownType { kind: String },
    #[error("{source}")]
    Name { source: ReferenceParseError },
    #[error("failed to parse {text}: {source}")]
    ArchiveName { text: String, source: ReferenceParseError },
    #[error("failed to push {name}: can't push tagged ref {name} by digest")]
    TaggedByDigest { name: String },
    #[error("`part-of={run}` names no run: at most 60 letters, digits, `.`, `_` and `-` do")]
    PartName { run: String },
    #[error("`part-of` needs `push=true,push-by-digest=true`: parts are put together by `slipway merge`")]
    PartNotByDigest,
    #[error("non-bool value specified for {key}: strconv.ParseBool: parsing {value:?}: invalid syntax")]
    NotBool { key: String, value: String },
    #[error("non-bool value for platform-split: {value}: strconv.ParseBool: parsing {value:?}: invalid syntax")]
    PlatformSplit { value: String },
    #[error("non-integer value {value} specified for {key}: strconv.ParseInt: parsing {value:?}: invalid syntax")]
    NotInteger { key: &'static str, value: String },
    #[error("invalid SOURCE_DATE_EPOCH: {text}")]
    Epoch { text: String },
    #[error("unsupported compression type {kind}")]
    Compression { kind: String },
    #[error("invalid compression level {level:?}")]
    CompressionLevel { level: String },
    #[error("exporter option \"compression={kind}\" conflicts with \"oci-mediatypes=false\"")]
    CompressionNeedsOci { kind: &'static str },
    #[error("exporter option \"oci-artifact=true\" conflicts with \"oci-mediatypes=false\"")]
    ArtifactNeedsOci,
    #[error("exporter option \"rewrite-timestamp\" conflicts with \"unpack\"")]
    RewriteAndUnpack,
    #[error("`{option}` is not supported by this version of slipway")]
    Unsupported { option: String },
}

impl OutputError {
    pub(crate) fn moment(&self) -> Moment {
        match self {
            OutputError::Csv(_) | OutputError::NoPair { .. } | OutputError::NoType | OutputError::ImageIdOfFiles => {
                Moment::Options
            }
            OutputError::NoDest { .. }
            | OutputError::FolderOnStdout { .. }
            | OutputError::FileInTheWay { .. }
            | OutputError::FolderInTheWay { .. }
            | OutputError::Console { .. }
            | OutputError::StdoutTwice
            | OutputError::DeleteNotAllowed { .. }
            | OutputError::PushWithoutName
            | OutputError::DockerIndex
            | OutputError::Tag { .. }
            | OutputError::Annotation { .. }
            | OutputError::AnnotationType { .. }
            | OutputError::UnknownAnnotationType { .. }
            | OutputError::AnnotationPlatform { .. }
            | OutputError::Unsupported { .. } => Moment::Build,
            OutputError::LocalMode { .. }
            | OutputError::UnknownType { .. }
            | OutputError::Name { .. }
            | OutputError::NotBool { .. }
            | OutputError::Compression { .. }
            | OutputError::CompressionLevel { .. }
            | OutputError::CompressionNeedsOci { .. }
            | OutputError::UnknownAttribute { .. }
            | OutputError::ArchiveName { .. }
            | OutputError::TaggedByDigest { .. }
            | OutputError::PlatformSplit { .. }
            | OutputError::NotInteger { .. }
            | OutputError::Epoch { .. }
            | OutputError::ArtifactNeedsOci
            | OutputError::PartName { .. }
            | OutputError::PartNotByDigest
            | OutputError::RewriteAndUnpack => Moment::Solve,
        }
    }
}

/// Everything typed that says what becomes of the result.
pub(crate) struct OutputFlags<'a> {
    pub(crate) outputs: &'a [String],
    pub(crate) pushes: bool,
    pub(crate) loads: bool,
    pub(crate) annotations: &'a [String],
    pub(crate) has_several_platforms: bool,
    pub(crate) has_iidfile: bool,
    pub(crate) allows_delete: bool,
    pub(crate) is_attested: bool,
}

/// The tags, each once and with `:latest` written out.
pub(crate) fn tags(texts: &[String]) -> Result<Vec<Reference>, OutputError> {
    let mut tags: Vec<Reference> = Vec::new();
    for text in texts {
        let tag: Reference = text.parse().map_err(|source| OutputError::Tag { tag: text.to_owned(), source })?;
        let tag = tag.with_default_tag();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// All outputs; none means the image store.
pub(crate) fn parse(
    flags: &OutputFlags<'_>,
    tags: &[Reference],
    surroundings: &dyn Surroundings,
) -> Result<Vec<Output>, OutputError> {
    let mut typed = flags.outputs.iter().map(|text| Typed::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if flags.has_iidfile && typed.iter().any(|output| matches!(output.kind.as_str(), "local" | "tar")) {
        return Err(OutputError::ImageIdOfFiles);
    }
    add_push_and_load(&mut typed, flags.pushes, flags.loads);
    let annotations = annotations::of_flags(flags.annotations)?;
    if typed.is_empty() && !annotations.is_empty() {
        typed.push(Typed::of_kind("image"));
    }
    let reader = Reader { tags, annotations: &annotations, allows_delete: flags.allows_delete, surroundings };
    let outputs = typed.iter().map(|output| reader.read(output)).collect::<Result<Vec<_>, _>>()?;
    let has_index = flags.has_several_platforms || flags.is_attested;
    if has_index && outputs.iter().any(|output| matches!(output, Output::Docker { .. })) {
        return Err(OutputError::DockerIndex);
    }
    if outputs.iter().filter(|output| writes_to_stdout(output)).count() > 1 {
        return Err(OutputError::StdoutTwice);
    }
    Ok(outputs)
}

fn writes_to_stdout(output: &Output) -> bool {
    match output {
        Output::Oci { dest, .. } | Output::Docker { dest, .. } | Output::Tar { dest, .. } => {
            *dest == Destination::Stdout
        }
        Output::Image(_) | Output::Load { .. } | Output::Local { .. } | Output::CacheOnly => false,
    }
}

/// One `--output` as its keys and values.
struct Typed {
    kind: String,
    dest: Option<String>,
    attributes: BTreeMap<String, String>,
}

impl Typed {
    fn of_kind(kind: &str) -> Typed {
        Typed { kind: kind.to_owned(), dest: None, attributes: BTreeMap::new() }
    }

    fn parse(text: &str) -> Result<Typed, OutputError> {
        let fields = csv::fields(text)?;
        if fields.len() == 1 && fields[0] == text && !text.starts_with("type=") {
            let kind = if text == "-" { "tar" } else { "local" };
            return Ok(Typed { dest: Some(text.to_owned()), ..Typed::of_kind(kind) });
        }
        let pairs = csv::pairs(&fields).map_err(|field| OutputError::NoPair { field: field.to_owned() })?;
        let mut attributes: BTreeMap<String, String> =
            pairs.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
        let kind = attributes.remove("type").filter(|kind| !kind.is_empty()).ok_or(OutputError::NoType)?;
        let dest = attributes.remove("dest").filter(|dest| !dest.is_empty());
        let mut typed = Typed { kind, dest, attributes };
        if typed.kind == "registry" {
            typed.kind = "image".to_owned();
            typed.push();
        }
        Ok(typed)
    }

    fn push(&mut self) {
        self.attributes.entry("push".to_owned()).or_insert_with(|| "true".to_owned());
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, OutputError> {
        match self.attributes.get(key).map(String::as_str) {
            None => Ok(default),
            Some("") => Ok(true),
            Some(value) => {
                parse_bool(value).ok_or_else(|| OutputError::NotBool { key: key.to_owned(), value: value.to_owned() })
            }
        }
    }
}

fn add_push_and_load(outputs: &mut Vec<Typed>, pushes: bool, loads: bool) {
    if pushes {
        outputs.iter_mut().filter(|output| output.kind == "image").for_each(Typed::push);
        if !outputs.iter().any(|output| output.kind == "image") {
            let mut image = Typed::of_kind("image");
            image.push();
            outputs.push(image);
        }
    }
    if loads && !outputs.iter().any(|output| output.kind == "docker" && output.dest.is_none()) {
        outputs.push(Typed::of_kind("docker"));
    }
}

fn files(typed: &Typed) -> Result<FilesOutput, OutputError> {
    let attestation_prefix = typed.attributes.get("attestation-prefix").cloned().unwrap_or_default();
    Ok(FilesOutput { splits: platform_split(typed)?, epoch: image::epoch(typed)?, attestation_prefix })
}

/// Whether platforms get folders of their own, if somebody says so.
fn platform_split(typed: &Typed) -> Result<Option<bool>, OutputError> {
    let value = typed.attributes.get("platform-split");
    value.map(|value| parse_bool(value).ok_or_else(|| OutputError::PlatformSplit { value: value.clone() })).transpose()
}

/// What the outputs have in common while they are read.
struct Reader<'a> {
    tags: &'a [Reference],
    annotations: &'a [Annotation],
    allows_delete: bool,
    surroundings: &'a dyn Surroundings,
}

impl Reader<'_> {
    fn read(&self, typed: &Typed) -> Result<Output, OutputError> {
        match typed.kind.as_str() {
            "local" => self.local(typed),
            "tar" => Ok(Output::Tar { dest: self.file("tar", typed)?, files: files(typed)? }),
            "oci" => Ok(Output::Oci { dest: self.archive("oci", typed)?, image: self.image(typed)? }),
            "docker" if typed.dest.is_none() => {
                let context = typed.attributes.get("context").filter(|context| !context.is_empty()).cloned();
                Ok(Output::Load { context, image: self.image(typed)? })
            }
            "docker" => Ok(Output::Docker { dest: self.archive("docker", typed)?, image: self.image(typed)? }),
            "image" => Ok(Output::Image(self.image(typed)?)),
            "cacheonly" => Ok(Output::CacheOnly),
            kind => Err(OutputError::UnknownType { kind: kind.to_owned() }),
        }
    }

    fn local(&self, typed: &Typed) -> Result<Output, OutputError> {
        let dest = self.folder("local", typed)?;
        let deletes_others = match typed.attributes.get("mode").map(String::as_str) {
            None | Some("copy") => false,
            Some("delete") => true,
            Some(mode) => return Err(OutputError::LocalMode { mode: mode.to_owned() }),
        };
        if deletes_others && !self.allows_delete && !self.is_below_working_dir(&dest) {
            return Err(OutputError::DeleteNotAllowed { dest: dest.display().to_string() });
        }
        Ok(Output::Local { dest, deletes_others, files: files(typed)? })
    }

    /// Whether `dest` is a real sub-folder of the working directory, as far as its spelling tells.
    fn is_below_working_dir(&self, dest: &Path) -> bool {
        let relative = match dest.is_absolute() {
            true => dest.strip_prefix(self.surroundings.working_dir()).unwrap_or(Path::new("..")).to_owned(),
            false => dest.to_owned(),
        };
        let mut depth = 0;
        for component in relative.components() {
            match component {
                Component::Normal(_) => depth += 1,
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
            }
        }
        depth > 0
    }

    fn archive(&self, kind: &'static str, typed: &Typed) -> Result<Destination, OutputError> {
        match typed.flag("tar", true)? {
            true => self.file(kind, typed),
            false => self.folder(kind, typed).map(Destination::Folder),
        }
    }

    fn folder(&self, kind: &'static str, typed: &Typed) -> Result<PathBuf, OutputError> {
        let dest = typed.dest.as_deref().ok_or(OutputError::NoDest { kind })?;
        if dest == "-" {
            return Err(OutputError::FolderOnStdout { kind });
        }
        match self.surroundings.kind_of(dest.as_ref()) {
            PathKind::File | PathKind::Socket => Err(OutputError::FileInTheWay { dest: dest.to_owned() }),
            PathKind::Missing | PathKind::Folder => Ok(dest.into()),
        }
    }

    fn file(&self, kind: &'static str, typed: &Typed) -> Result<Destination, OutputError> {
        match typed.dest.as_deref() {
            None | Some("-") if self.surroundings.is_stdout_terminal() => Err(OutputError::Console { kind }),
            None | Some("-") => Ok(Destination::Stdout),
            Some(dest) if self.surroundings.kind_of(dest.as_ref()) == PathKind::Folder => {
                Err(OutputError::FolderInTheWay { dest: dest.to_owned() })
            }
            Some(dest) => Ok(Destination::File(dest.into())),
        }
    }

    fn image(&self, typed: &Typed) -> Result<ImageOutput, OutputError> {
        let no_artifact = self.surroundings.variable("BUILDX_NO_DEFAULT_OCI_ARTIFACT");
        let attests_by_artifact = no_artifact.as_deref().and_then(parse_bool) != Some(true);
        image::read(typed, self.tags, self.annotations, attests_by_artifact)
    }
}

#[cfg(test)]
mod tests;
