//! How much of what the layers hold is needed (`spec/analyze.md` section 3)?
//!
//! Each path is visited once for each layer that has it as a leaf: a file, a link, a folder with nothing in it, or its
//! removal. Ideal would be one visit of the smallest size. That makes some surprises: the copy that is kept counts as
//! wasted too, a removed folder does not, and folders that hide what was in them are not looked at.

use std::collections::HashMap;

use crate::layer::Layer;
use crate::stack::{Stacking, put_upon};
use crate::tree::{Node, removed_by};

/// How near to the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// As it means to count.
    Corrected,
    /// As it counts: the removal of what is not there ends the visit of its layer (wagoodman/dive#715).
    Strict,
}

/// The verdict on an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Efficiency {
    /// From 0 to 1, which is best.
    pub score: f64,
    /// Paths visited more than once, those with most bytes first.
    pub inefficient: Vec<Inefficient>,
}

/// A path that several layers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inefficient {
    /// With a leading `/`.
    pub path: Vec<u8>,
    pub n_visits: u64,
    /// Of all visits, the kept copy included.
    pub size_bytes: u64,
}

#[derive(Default)]
struct Visits {
    n: u64,
    total_bytes: u64,
    /// `None` before the first one.
    smallest: Option<u64>,
}

impl Efficiency {
    /// Counts the bytes of [`Efficiency::inefficient`].
    pub fn wasted_bytes(&self) -> u64 {
        self.inefficient.iter().map(|path| path.size_bytes).sum()
    }

    pub(crate) fn of(layers: &[Layer], compat: Compat) -> Efficiency {
        let stacking = Stacking { honours_opaque: false, drops_below_files: compat == Compat::Corrected };
        let mut visits = HashMap::new();
        let mut below = Node::default();
        for layer in layers {
            visit_layer(&layer.root, &below, compat, &mut visits);
            put_upon(&mut below, &layer.root, stacking);
        }
        // A path that was never visited to the end has the reference's initial value.
        let smallest: i128 = visits.values().map(|path| path.smallest.map_or(-1, i128::from)).sum();
        let total: u64 = visits.values().map(|path| path.total_bytes).sum();
        let score = if total == 0 { 1.0 } else { smallest as f64 / total as f64 };
        let several = visits.into_iter().filter(|(_, path)| path.n >= 2);
        let mut inefficient: Vec<_> = several
            .map(|(path, visits)| Inefficient { path, n_visits: visits.n, size_bytes: visits.total_bytes })
            .collect();
        inefficient.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.path.cmp(&b.path)));
        Efficiency { score, inefficient }
    }
}

fn visit_layer(root: &Node, below: &Node, compat: Compat, visits: &mut HashMap<Vec<u8>, Visits>) {
    root.visit(&mut |path, node| {
        if !node.children.is_empty() {
            return true;
        }
        let (folder, name) = path.split_at(path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1));
        let removed = removed_by(name);
        let path = [b"/", folder, removed.unwrap_or(name)].concat();
        let target = removed.map(|_| below.get(&path));
        let visit = visits.entry(path).or_default();
        let size_bytes = match target {
            None => node.size_bytes(),
            Some(None) if compat == Compat::Strict => return false,
            Some(Some(target)) if target.is_dir() => target.total_bytes(),
            Some(_) => 0,
        };
        visit.n += 1;
        visit.total_bytes += size_bytes;
        visit.smallest = Some(visit.smallest.map_or(size_bytes, |smallest| smallest.min(size_bytes)));
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Analysis;
    use crate::testing::layers;

    /// `path×n=bytes` for each.
    fn list(efficiency: &Efficiency) -> String {
        let item = |path: &Inefficient| {
            format!("{}×{}={}", String::from_utf8_lossy(&path.path), path.n_visits, path.size_bytes)
        };
        efficiency.inefficient.iter().map(item).collect::<Vec<_>>().join(" ")
    }

    fn check(text: &str, compat: Compat, numbers: [u64; 4], score: f64, share: f64, expected_list: &str) {
        let image = Analysis::of(&layers(text), compat, false).unwrap();
        let [size, user, wasted, reclaimable] = numbers;
        assert_eq!(image.size_bytes(), size, "size of {text}");
        assert_eq!(image.user_bytes(), user, "user size of {text}");
        assert_eq!(image.efficiency.wasted_bytes(), wasted, "wasted by {text}");
        assert_eq!(image.hidden.reclaimable_bytes(), reclaimable, "reclaimable in {text}");
        assert!((image.efficiency.score - score).abs() < 1e-12, "efficiency of {text}: {}", image.efficiency.score);
        let found = image.wasted_user_share();
        let is_equal = found == share || (found.is_nan() && share.is_nan()) || (found - share).abs() < 1e-12;
        assert!(is_equal, "share wasted by {text}: {found}");
        assert_eq!(list(&image.efficiency), expected_list, "{text}");
    }

    const NAN: f64 = f64::NAN;

    /// The table of `spec/analyze.md` section 3.2.
    #[test]
    fn vectors() {
        // layers, [size, user size, wasted, reclaimable], efficiency, share of the user's bytes, list
        for (text, numbers, score, share, list) in [
            ("a:100 d/ d/b:50", [150, 0, 0, 0], 1.0, NAN, ""),
            ("", [0, 0, 0, 0], 1.0, NAN, ""),
            ("a:100 | a:100", [200, 100, 200, 100], 0.5, 2.0, "/a×2=200"),
            ("a:100 | a:150", [250, 150, 250, 100], 0.4, 250.0 / 150.0, "/a×2=250"),
            ("a:100 | a:10", [110, 10, 110, 100], 10.0 / 110.0, 11.0, "/a×2=110"),
            ("a:100 | -a", [100, 0, 100, 100], 0.0, f64::INFINITY, "/a×2=100"),
            ("d/ d/a:100 d/b:50 | -d", [150, 0, 0, 150], 1.0, NAN, ""),
            ("d/ | -d", [0, 0, 0, 0], 1.0, NAN, "/d×2=0"),
            ("a:100 | -a | a:100", [200, 100, 200, 100], 0.0, 2.0, "/a×3=200"),
            ("d/ d/a:100 | d/ d! d/b:10", [110, 10, 0, 100], 1.0, 0.0, ""),
            ("d/ d/a:100 | d/ d!", [100, 0, 0, 100], 1.0, NAN, ""),
            ("d/ d/a:100 | d/", [100, 0, 0, 0], 1.0, NAN, ""),
            ("e/ | e/ | e/", [0, 0, 0, 0], 1.0, NAN, "/e×3=0"),
            ("a:100 | a:100 | a:100", [300, 200, 300, 200], 1.0 / 3.0, 1.5, "/a×3=300"),
            ("d/ d/a:100 | -d | d/ d/a:100", [200, 100, 200, 100], 2.0 / 3.0, 2.0, "/d/a×2=200"),
            ("a:100 b:30 | a:100 -b | c:5", [235, 105, 230, 130], 105.0 / 235.0, 230.0 / 105.0, "/a×2=200 /b×2=30"),
            ("a:100 a:40 | a:40", [180, 40, 80, 140], 0.5, 2.0, "/a×2=80"),
        ] {
            check(text, Compat::Corrected, numbers, score, share, list);
            check(text, Compat::Strict, numbers, score, share, list);
        }
    }

    #[test]
    fn removals_of_nothing() {
        let share = 200.0 / 110.0;
        for (text, compat, numbers, score, share, list) in [
            ("a:100 | -zz b:10 a:100", Compat::Strict, [210, 110, 0, 100], 0.99, 0.0, ""),
            ("a:100 | -zz b:10 a:100", Compat::Corrected, [210, 110, 200, 100], 110.0 / 210.0, share, "/a×2=200"),
            ("a:100 | a:100 b:10 zz/-q", Compat::Strict, [210, 110, 200, 100], 109.0 / 210.0, share, "/a×2=200"),
            ("a:100 | a:100 b:10 zz/-q", Compat::Corrected, [210, 110, 200, 100], 110.0 / 210.0, share, "/a×2=200"),
        ] {
            check(text, compat, numbers, score, share, list);
        }
    }

    #[test]
    fn a_file_in_the_place_of_a_folder() {
        // The reference still has what was in the folder when the folder comes back.
        let text = "d/ d/a:100 | d:1 | d/ | -d";
        check(text, Compat::Strict, [101, 1, 101, 101], 100.0 / 201.0, 101.0, "/d×3=101");
        check(text, Compat::Corrected, [101, 1, 1, 101], 100.0 / 101.0, 1.0, "/d×3=1");
    }

    /// `spec/analyze.md` section 9, rows 16 to 20.
    #[test]
    fn corner_cases() {
        let of = |text: &str| Analysis::of(&layers(text), Compat::Corrected, false).unwrap();
        let removed_folder = of("dir/ dir/a:70 dir/b:30 | -dir");
        assert_eq!((list(&removed_folder.efficiency).as_str(), removed_folder.hidden.reclaimable_bytes()), ("", 100));
        assert_eq!(list(&of("file:9 | -file").efficiency), "/file×2=9");
        let other_owner = of("t/ t/a:5 t/b:7 | t/ t/a:5 t/b:7");
        assert_eq!(list(&other_owner.efficiency), "/t/b×2=14 /t/a×2=10");
        let link = of("a:100 | b=a");
        assert_eq!((link.size_bytes(), link.efficiency.score, list(&link.efficiency).as_str()), (100, 1.0, ""));
        assert_eq!(list(&of("a:100 | a=b").efficiency), "/a×2=100");
        assert_eq!(list(&of("a:1 e/ | e/ | e/ | e/").efficiency), "/e×4=0");
    }
}
