//! What programs read (`spec/analyze.md` section 6).

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use slipway_oci::to_indented;

use crate::Analysis;
use crate::go_mode::go_mode;
use crate::growth::Growth;
use crate::layer::Layer;
use crate::origin::{Origin, Share, Supplier, grown_shares, shares};

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What the reference tells, and nothing else.
    Plain,
    /// With `x-slipway`.
    Extended,
}

#[derive(Serialize)]
struct Export<'a> {
    layer: Vec<ExportedLayer<'a>>,
    image: ExportedImage<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportedLayer<'a> {
    index: usize,
    id: &'a str,
    digest_id: &'a str,
    size_bytes: u64,
    command: &'a str,
    file_list: Vec<ExportedFile<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportedFile<'a> {
    path: String,
    type_flag: u8,
    link_name: Cow<'a, str>,
    size: u64,
    file_mode: u32,
    uid: u32,
    gid: u32,
    is_dir: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportedImage<'a> {
    size_bytes: u64,
    inefficient_bytes: u64,
    efficiency_score: Box<RawValue>,
    file_reference: Vec<FileReference<'a>>,
    #[serde(rename = "x-slipway", skip_serializing_if = "Option::is_none")]
    extension: Option<Extension<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileReference<'a> {
    count: u64,
    size_bytes: u64,
    file: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extension<'a> {
    reclaimable_bytes: u64,
    visible_bytes: u64,
    duplicate_content_bytes: u64,
    /// `null` if the compressed size of a layer is not known.
    compressed_bytes: Option<u64>,
    hidden: Vec<HiddenPath<'a>>,
    layers: Vec<ExtendedLayer<'a>>,
    /// Where the bytes come from, most first.
    stages: Vec<Share>,
}

#[derive(Serialize)]
struct HiddenPath<'a> {
    file: Cow<'a, str>,
    bytes: u64,
}

/// What a layer changes of those below it, in paths.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExtendedLayer<'a> {
    index: usize,
    /// The line that made it; `null` if that is not known.
    origin: Option<&'a Origin>,
    compressed_bytes: Option<u64>,
    added: usize,
    modified: usize,
    removed: usize,
}

/// The export; no newline at its end.
pub fn to_json(image: &Analysis, detail: Detail) -> Result<Vec<u8>, serde_json::Error> {
    let file_reference = image.efficiency.inefficient.iter().map(|path| FileReference {
        count: path.n_visits,
        size_bytes: path.size_bytes,
        file: String::from_utf8_lossy(&path.path),
    });
    let export = Export {
        layer: image.layers.iter().enumerate().map(|(index, layer)| exported_layer(index, layer)).collect(),
        image: ExportedImage {
            size_bytes: image.size_bytes(),
            inefficient_bytes: image.efficiency.wasted_bytes(),
            efficiency_score: RawValue::from_string(number(image.efficiency.score))?,
            file_reference: file_reference.collect(),
            extension: (detail == Detail::Extended).then(|| extension(image)),
        },
    };
    to_indented(&export)
}

fn exported_layer(index: usize, layer: &Layer) -> ExportedLayer<'_> {
    let mut file_list = Vec::with_capacity(layer.n_entries);
    layer.root.visit(&mut |path, node| {
        file_list.push(match &node.entry {
            // A folder that no entry is about has no path either.
            None => ExportedFile {
                path: String::new(),
                type_flag: 0,
                link_name: "".into(),
                size: 0,
                file_mode: 0,
                uid: 0,
                gid: 0,
                is_dir: false,
            },
            Some(entry) => ExportedFile {
                path: String::from_utf8_lossy(path).into_owned(),
                type_flag: entry.type_flag,
                link_name: String::from_utf8_lossy(&entry.link),
                size: entry.size_bytes,
                file_mode: go_mode(entry),
                uid: entry.uid,
                gid: entry.gid,
                is_dir: entry.is_dir(),
            },
        });
        true
    });
    ExportedLayer {
        index,
        id: &layer.id,
        digest_id: &layer.digest,
        size_bytes: layer.size_bytes,
        command: &layer.command,
        file_list,
    }
}

fn extension(image: &Analysis) -> Extension<'_> {
    let hidden = image.hidden.paths.iter();
    let layers = crate::differences::counts(&image.layers);
    Extension {
        reclaimable_bytes: image.hidden.reclaimable_bytes(),
        visible_bytes: image.hidden.visible_bytes,
        duplicate_content_bytes: image.hidden.duplicate_bytes,
        compressed_bytes: image.layers.iter().map(|layer| layer.compressed_bytes).sum(),
        hidden: hidden.map(|(path, bytes)| HiddenPath { file: String::from_utf8_lossy(path), bytes: *bytes }).collect(),
        layers: layers
            .iter()
            .zip(&image.layers)
            .enumerate()
            .map(|(index, (counts, layer))| ExtendedLayer {
                index,
                origin: layer.origin.as_ref(),
                compressed_bytes: layer.compressed_bytes,
                added: counts.added,
                modified: counts.modified,
                removed: counts.removed,
            })
            .collect(),
        stages: shares(image),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportedGrowth<'a> {
    visible_bytes: BeforeAndAfter,
    stored_bytes: BeforeAndAfter,
    layers: Vec<ExportedGrownLayer<'a>>,
    stages: Vec<GrownStage>,
    files: Vec<ExportedGrownFile<'a>>,
}

#[derive(Serialize)]
struct BeforeAndAfter {
    before: u64,
    after: u64,
}

#[derive(Serialize)]
struct ExportedGrownLayer<'a> {
    bytes: i128,
    image: &'static str,
    index: usize,
    command: &'a str,
    origin: Option<&'a Origin>,
}

#[derive(Serialize)]
struct GrownStage {
    from: Option<Supplier>,
    #[serde(flatten)]
    visible_bytes: BeforeAndAfter,
}

#[derive(Serialize)]
struct ExportedGrownFile<'a> {
    file: Cow<'a, str>,
    #[serde(flatten)]
    bytes: BeforeAndAfter,
    image: &'static str,
    layer: usize,
}

/// What programs read of a comparison; no newline at its end.
pub fn growth_to_json(growth: &Growth, before: &Analysis, after: &Analysis) -> Result<Vec<u8>, serde_json::Error> {
    let image = |is_of_later: bool| if is_of_later { "after" } else { "before" };
    let layers = growth.by_layer().into_iter().map(|grown| {
        let layer = &(if grown.is_of_later { after } else { before }).layers[grown.layer];
        ExportedGrownLayer {
            bytes: grown.bytes,
            image: image(grown.is_of_later),
            index: grown.layer,
            command: &layer.command,
            origin: layer.origin.as_ref(),
        }
    });
    let files = growth.files.iter().map(|file| ExportedGrownFile {
        file: String::from_utf8_lossy(&file.path),
        bytes: BeforeAndAfter { before: file.before_bytes, after: file.after_bytes },
        image: image(file.is_there()),
        layer: file.layer,
    });
    let stages = grown_shares(before, after)
        .into_iter()
        .map(|(from, before, after)| GrownStage { from, visible_bytes: BeforeAndAfter { before, after } });
    to_indented(&ExportedGrowth {
        visible_bytes: BeforeAndAfter { before: before.hidden.visible_bytes, after: after.hidden.visible_bytes },
        stored_bytes: BeforeAndAfter { before: before.size_bytes(), after: after.size_bytes() },
        layers: layers.collect(),
        stages: stages.collect(),
        files: files.collect(),
    })
}

/// A number as Go writes it: whole ones without a point.
fn number(value: f64) -> String {
    match value {
        // Below this Go writes exponents, and so does Rust's debug form, with one digit less than C.
        v if v != 0.0 && v.abs() < 1e-6 => format!("{v:e}"),
        v => v.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compat;
    use crate::origin::Place;
    use crate::testing::layers;

    fn export(text: &str, detail: Detail) -> String {
        let image = Analysis::of(&layers(text), Compat::Corrected, false).unwrap();
        String::from_utf8(to_json(&image, detail).unwrap()).unwrap()
    }

    #[test]
    fn keys_and_their_order() {
        let expected = r#"{
  "layer": [
    {
      "index": 0,
      "id": "id",
      "digestId": "sha256:0",
      "sizeBytes": 9,
      "command": "bin/sh:9",
      "fileList": [
        {
          "path": "bin/sh",
          "typeFlag": 48,
          "linkName": "",
          "size": 9,
          "fileMode": 420,
          "uid": 0,
          "gid": 0,
          "isDir": false
        },
        {
          "path": "",
          "typeFlag": 0,
          "linkName": "",
          "size": 0,
          "fileMode": 0,
          "uid": 0,
          "gid": 0,
          "isDir": false
        }
      ]
    }
  ],
  "image": {
    "sizeBytes": 9,
    "inefficientBytes": 0,
    "efficiencyScore": 1,
    "fileReference": []
  }
}"#;
        assert_eq!(export("bin/sh:9", Detail::Plain), expected);
    }

    /// Hard links, removals, opaque folders, a folder that became a file, empty files, and a file three times, counted by
    /// hand (`spec/analyze.md` sections 2.2 and 3).
    #[test]
    fn odd_layers_are_told_to_the_byte() {
        let text = export("a:100 z:0 d/ d/x:5 h=a | a:100 -z d/ d! d/y:7 | a:100 d:3", Detail::Plain);
        // (100 + 3 + 5 + 7 + 0 + 0) / (300 + 3 + 5 + 7 + 0 + 0); the links and what is empty count nothing.
        let image = r#"  "image": {
    "sizeBytes": 315,
    "inefficientBytes": 300,
    "efficiencyScore": 0.36507936507936506,
    "fileReference": [
      {
        "count": 3,
        "sizeBytes": 300,
        "file": "/a"
      },
      {
        "count": 2,
        "sizeBytes": 0,
        "file": "/z"
      }
    ]
  }
}"#;
        assert!(text.ends_with(image), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let files = |layer: usize| -> Vec<String> {
            let list = json["layer"][layer]["fileList"].as_array().unwrap();
            let told = |file: &serde_json::Value| {
                let text = |key: &str| file[key].as_str().unwrap().to_owned();
                format!(
                    "{} {} {} {}>{}",
                    file["typeFlag"],
                    file["size"],
                    file["fileMode"],
                    text("path"),
                    text("linkName")
                )
            };
            list.iter().map(told).collect()
        };
        let first = ["48 100 420 a>", "48 5 420 d/x>", "53 0 2147484141 d>", "49 0 420 h>a", "48 0 420 z>"];
        assert_eq!(files(0), first);
        assert_eq!(files(1), ["48 0 420 .wh.z>", "48 100 420 a>", "48 7 420 d/y>", "53 0 2147484141 d>"]);
        assert_eq!(files(2), ["48 100 420 a>", "48 3 420 d>"]);
    }

    #[test]
    fn whiteouts_keep_their_names_and_references_have_slashes() {
        let json: serde_json::Value = serde_json::from_str(&export("d/ d/a:100 | d/-a", Detail::Plain)).unwrap();
        assert_eq!(json["layer"][1]["fileList"][0]["path"], "d/.wh.a");
        assert_eq!(json["layer"][0]["fileList"][1]["fileMode"], 2_147_484_141_u32);
        let expected = serde_json::json!([{"count": 2, "sizeBytes": 100, "file": "/d/a"}]);
        assert_eq!(json["image"]["fileReference"], expected);
    }

    #[test]
    fn more_is_told_if_asked_for() {
        assert!(!export("a:1 | a:2", Detail::Plain).contains("x-slipway"));
        let json: serde_json::Value = serde_json::from_str(&export("a:1 b:1 | a:2 -b c:3", Detail::Extended)).unwrap();
        let more = &json["image"]["x-slipway"];
        assert_eq!((&more["reclaimableBytes"], &more["visibleBytes"]), (&2.into(), &5.into()));
        assert_eq!(more["compressedBytes"], serde_json::Value::Null);
        let layer = &more["layers"][1];
        assert_eq!((&layer["added"], &layer["modified"], &layer["removed"]), (&1.into(), &1.into(), &1.into()));
    }

    #[test]
    fn stages_and_lines_are_told_where_they_are_known() {
        let mut sources = layers("a:1 | b:2");
        let place = Place { file: "Dockerfile".to_owned(), first_line: 3, last_line: 4 };
        let from = Supplier::Stage("build".to_owned());
        sources[1].origin = Some(Origin { from, stage: Some("final".to_owned()), place });
        let image = Analysis::of(&sources, Compat::Corrected, false).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&to_json(&image, Detail::Extended).unwrap()).unwrap();
        let more = &json["image"]["x-slipway"];
        let place = serde_json::json!({"file": "Dockerfile", "firstLine": 3, "lastLine": 4});
        let from = serde_json::json!({"kind": "stage", "name": "build"});
        assert_eq!(more["layers"][0]["origin"], serde_json::Value::Null);
        assert_eq!(more["layers"][1]["origin"], serde_json::json!({"from": from, "stage": "final", "place": place}));
        let stages = serde_json::json!([
            {"from": from, "storedBytes": 2, "visibleBytes": 2, "layers": [1], "places": [place]},
            {"from": null, "storedBytes": 1, "visibleBytes": 1, "layers": [0], "places": []},
        ]);
        assert_eq!(more["stages"], stages);
        let before = Analysis::of(&layers("a:5 c:1"), Compat::Corrected, false).unwrap();
        let growth = growth_to_json(&Growth::between(&before, &image), &before, &image).unwrap();
        let growth: serde_json::Value = serde_json::from_slice(&growth).unwrap();
        assert_eq!(growth["visibleBytes"], serde_json::json!({"before": 6, "after": 3}));
        assert_eq!(growth["layers"][1]["origin"]["place"], place);
        let found = |key: &str| growth[key].as_array().unwrap().len();
        assert_eq!((found("layers"), found("files"), found("stages")), (3, 3, 2));
        let first = serde_json::json!({"bytes": -4, "image": "after", "index": 0, "command": "a:1", "origin": null});
        assert_eq!(growth["layers"][0], first);
        assert_eq!(growth["stages"][0], serde_json::json!({"from": from, "before": 0, "after": 2}));
    }

    #[test]
    fn numbers_of_go() {
        assert_eq!(
            [1.0, 0.0, 0.984_421_213_418_430_9, 0.000_000_1].map(number),
            ["1", "0", "0.9844212134184309", "1e-7"]
        );
    }
}
