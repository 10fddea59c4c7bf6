//! Which line of a Dockerfile made a layer, and which stage did the bytes of the image come from?
//!
//! Layers do not say it: who calls knows builds or a Dockerfile, and puts an [`Origin`] beside a layer
//! ([`crate::LayerSource::origin`]). What is not known stays unknown.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::Analysis;
use crate::visible::each_visible;

/// What made a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    pub from: Supplier,
    /// The stage that the instruction stands in.
    pub stage: Option<String>,
    pub place: Place,
}

/// Lines of a Dockerfile, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub file: String,
    pub first_line: usize,
    pub last_line: usize,
}

/// Where the files of a layer come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum Supplier {
    /// The image that the Dockerfile builds on.
    BaseImage(String),
    /// A stage: its own instructions made them, or they were copied from it.
    Stage(String),
    /// Copied from an image that is no stage.
    Image(String),
}

/// What of an image one supplier supplied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// `None` for layers of which nobody knows it.
    pub from: Option<Supplier>,
    /// What its layers hold.
    pub stored_bytes: u64,
    /// What of that is seen when all layers lie on each other.
    pub visible_bytes: u64,
    /// Indices of its layers.
    pub layers: Vec<usize>,
    /// The lines that brought it into the image.
    pub places: Vec<Place>,
}

/// Where the bytes of `image` come from, most of what is visible first. Together the shares are the image.
pub fn shares(image: &Analysis) -> Vec<Share> {
    let mut visible = vec![0; image.layers.len()];
    each_visible(&image.layers, |_, node, layer| visible[layer] += node.size_bytes());
    let mut shares: Vec<Share> = Vec::new();
    for (index, layer) in image.layers.iter().enumerate() {
        let from = layer.origin.as_ref().map(|origin| origin.from.clone());
        let place = shares.iter().position(|share| share.from == from).unwrap_or_else(|| {
            shares.push(Share { from, stored_bytes: 0, visible_bytes: 0, layers: Vec::new(), places: Vec::new() });
            shares.len() - 1
        });
        let share = &mut shares[place];
        share.stored_bytes += layer.size_bytes;
        share.visible_bytes += visible[index];
        share.layers.push(index);
        let line = layer.origin.iter().map(|origin| &origin.place);
        share.places.extend(line.filter(|line| !share.places.contains(line)).cloned().collect::<Vec<_>>());
    }
    shares.sort_by_key(|share| std::cmp::Reverse((share.visible_bytes, share.stored_bytes)));
    shares
}

/// The visible bytes that each supplier supplied of `before` and of `after`, most of the later ones first.
pub fn grown_shares(before: &Analysis, after: &Analysis) -> Vec<(Option<Supplier>, u64, u64)> {
    let earlier = shares(before);
    let mut rows: Vec<_> = shares(after).into_iter().map(|share| (share.from, 0, share.visible_bytes)).collect();
    for share in earlier {
        match rows.iter_mut().find(|(from, ..)| *from == share.from) {
            Some((_, before, _)) => *before = share.visible_bytes,
            None => rows.push((share.from, share.visible_bytes, 0)),
        }
    }
    rows
}

/// `Dockerfile:3`, `Dockerfile:3-5`.
impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.first_line)?;
        if self.last_line > self.first_line {
            write!(f, "-{}", self.last_line)?;
        }
        Ok(())
    }
}

impl Display for Supplier {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Supplier::BaseImage(name) => write!(f, "base image {name}"),
            Supplier::Stage(name) => write!(f, "stage {name}"),
            Supplier::Image(name) => write!(f, "image {name}"),
        }
    }
}

/// `Dockerfile:3`, and the stage where the file has several; then where files come from, unless it is that stage.
impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if let Some(stage) = &self.stage {
            write!(f, ", stage {stage}")?;
        }
        match &self.from {
            Supplier::Stage(name) if self.stage.as_ref().is_none_or(|stage| stage == name) => Ok(()),
            from @ Supplier::BaseImage(_) => write!(f, ", {from}"),
            from => write!(f, ", from {from}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compat;
    use crate::testing::layers;

    fn origin(from: Supplier, stage: &str, lines: (usize, usize)) -> Origin {
        let place = Place { file: "Dockerfile".to_owned(), first_line: lines.0, last_line: lines.1 };
        Origin { from, stage: Some(stage.to_owned()), place }
    }

    fn stage(name: &str) -> Supplier {
        Supplier::Stage(name.to_owned())
    }

    #[test]
    fn shares_are_the_whole_image() {
        let mut sources = layers("a:100 | b:50 | a:30 | c:7 | d:9 -d");
        let base = Supplier::BaseImage("alpine".to_owned());
        sources[0].origin = Some(origin(base.clone(), "final", (4, 4)));
        sources[1].origin = Some(origin(stage("build"), "final", (5, 5)));
        sources[2].origin = Some(origin(stage("final"), "final", (6, 8)));
        sources[3].origin = Some(origin(stage("build"), "final", (9, 9)));
        let image = Analysis::of(&sources, Compat::Corrected, false).unwrap();
        let shares = shares(&image);
        let found: Vec<_> =
            shares.iter().map(|s| (s.from.clone(), s.stored_bytes, s.visible_bytes, s.layers.clone())).collect();
        let expected = [
            (Some(stage("build")), 57, 57, vec![1, 3]),
            (Some(stage("final")), 30, 30, vec![2]),
            (None, 9, 9, vec![4]),
            (Some(base), 100, 0, vec![0]),
        ];
        assert_eq!(found, expected);
        assert_eq!(shares.iter().map(|share| share.stored_bytes).sum::<u64>(), image.size_bytes());
        assert_eq!(shares.iter().map(|share| share.visible_bytes).sum::<u64>(), image.hidden.visible_bytes);
        assert_eq!(
            shares[0].places.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["Dockerfile:5", "Dockerfile:9"]
        );
    }

    #[test]
    fn origins_are_told_in_a_line() {
        for (origin, expected) in [
            (origin(stage("final"), "final", (6, 8)), "Dockerfile:6-8, stage final"),
            (origin(stage("build"), "final", (5, 5)), "Dockerfile:5, stage final, from stage build"),
            (
                origin(Supplier::BaseImage("alpine".to_owned()), "final", (4, 4)),
                "Dockerfile:4, stage final, base image alpine",
            ),
            (Origin { stage: None, ..origin(stage("image"), "", (2, 2)) }, "Dockerfile:2"),
        ] {
            assert_eq!(origin.to_string(), expected);
        }
    }
}
