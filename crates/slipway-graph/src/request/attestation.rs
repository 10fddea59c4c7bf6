//! What is said about a result beside it: where it comes from, and what is in it (`spec/dockerfile.md` section 8.7).

/// The statements that a result gets; none unless somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attestations {
    pub provenance: Option<Provenance>,
    /// Whether the packages in the result are listed.
    pub has_sbom: bool,
}

/// How the way that a result was made is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    pub extent: Extent,
    pub slsa: Slsa,
    /// Who built, as the user calls them; a URL, mostly.
    pub builder_id: String,
    /// What the file is called that the statement is in, where it is one.
    pub file_name: String,
    /// The user's word that the same inputs give the same result.
    pub is_reproducible: bool,
    /// Only for images: not as a file beside files.
    pub is_inline_only: bool,
}

impl Provenance {
    /// The least that can be told.
    pub fn least() -> Provenance {
        Provenance {
            extent: Extent::Min,
            slsa: Slsa::V1,
            builder_id: String::new(),
            file_name: "provenance.json".to_owned(),
            is_reproducible: false,
            is_inline_only: false,
        }
    }
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Neither build arguments, labels nor secrets; no steps.
    Min,
    Max,
}

/// The version of the SLSA predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slsa {
    V02,
    V1,
}
