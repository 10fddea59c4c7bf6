//! Where do boxes and lines go? A drawing in layers: what a box takes files from is above it, lines run down.
//!
//! ```text
//! 1 layers     as far down as what is above it asks for
//! 2 dummies    a line that passes layers has a place in each of them, shared by all lines from one box
//! 3 order      each box near the middle of its neighbours (barycenters), a few times down and up
//! 4 places     as near to the neighbours as the order allows (least squares by pooling adjacent violators)
//! 5 channels   between two layers, each line that has to go sideways does so on a track of its own
//! ```
//!
//! Positions are whole cells: characters for a terminal, scaled for SVG. The work grows with boxes and lines, but for
//! sorting; lines that would need more dummies than that are left out and named.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// How far a box extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) width: i32,
    pub(crate) height: i32,
}

/// A box that has its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) width: i32,
    pub(crate) height: i32,
}

/// A line from box to box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) is_solid: bool,
}

/// A part of a line: horizontal and vertical pieces between the points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The box that the line comes from.
    pub(crate) from: usize,
    pub(crate) points: Vec<(i32, i32)>,
    /// Whether it ends at a box, and not on the way.
    pub(crate) ends: bool,
    pub(crate) is_solid: bool,
}

/// A finished drawing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// In the order of the boxes.
    pub(crate) boxes: Vec<Place>,
    pub(crate) routes: Vec<Route>,
    pub(crate) left_out: Vec<Link>,
    pub(crate) width: i32,
    pub(crate) height: i32,
}

const GAP: i32 = 2;
/// A line that passes a layer may bend by one cell to either side, to keep clear of others.
const DUMMY_WIDTH: i32 = 3;
const N_SWEEPS: usize = 4;

/// Something with a place in a layer: a box, or a line that passes.
struct Item {
    width: i32,
    height: i32,
    /// The box that it is, or that the line comes from.
    owner: usize,
    is_box: bool,
    x: i32,
    /// Where a line leaves it.
    port: i32,
    /// Each with whether the line from there is solid.
    above: Vec<(usize, bool)>,
    below: Vec<usize>,
}

impl Item {
    /// The items that are linked with it, on one side.
    fn neighbours(&self, are_above: bool) -> impl Iterator<Item = usize> {
        let (above, below) =
            if are_above { (self.above.as_slice(), &[][..]) } else { (&[][..], self.below.as_slice()) };
        above.iter().map(|(other, _)| *other).chain(below.iter().copied())
    }
}

/// Finds places for boxes and lines; between layers there are `room` cells more than it takes. `links` must not form a
/// circle.
pub(crate) fn layout(boxes: &[Extent], links: &[Link], room: i32) -> Layout {
    if boxes.is_empty() {
        return Layout::default();
    }
    let layers = layers_of(boxes.len(), links);
    let (mut items, mut rows, left_out) = with_dummies(boxes, links, &layers);
    sort_rows(&items, &mut rows);
    place_rows(&mut items, &rows);
    let mut channels: Vec<Channel> = (0..rows.len()).map(|row| channel_below(&mut items, &rows, row)).collect();
    channels.iter_mut().for_each(|channel| channel.height = channel.n_tracks.max(1) + room);
    draw(&items, &rows, &channels, boxes.len(), left_out)
}

/// The layer of each box: below all that it takes from; what takes from nothing, right above who uses it first.
fn layers_of(n_boxes: usize, links: &[Link]) -> Vec<usize> {
    let (mut below, mut n_above) = (vec![Vec::new(); n_boxes], vec![0; n_boxes]);
    for link in links {
        below[link.from].push(link.to);
        n_above[link.to] += 1;
    }
    let is_root: Vec<bool> = n_above.iter().map(|n| *n == 0).collect();
    let mut layers = vec![0; n_boxes];
    let mut open: Vec<usize> = (0..n_boxes).filter(|index| is_root[*index]).collect();
    while let Some(index) = open.pop() {
        for next in &below[index] {
            layers[*next] = layers[*next].max(layers[index] + 1);
            n_above[*next] -= 1;
            if n_above[*next] == 0 {
                open.push(*next);
            }
        }
    }
    for index in (0..n_boxes).filter(|index| is_root[*index]) {
        let first_user = below[index].iter().map(|next| layers[*next]).min();
        layers[index] = first_user.map_or(0, |layer| layer - 1);
    }
    layers
}

/// Boxes and dummies, and which of them are in each layer.
fn with_dummies(boxes: &[Extent], links: &[Link], layers: &[usize]) -> (Vec<Item>, Vec<Vec<usize>>, Vec<Link>) {
    let n_layers = layers.iter().max().map_or(0, |last| last + 1);
    let mut items: Vec<Item> = Vec::with_capacity(boxes.len());
    let mut rows = vec![Vec::new(); n_layers];
    for (owner, extent) in boxes.iter().enumerate() {
        rows[layers[owner]].push(owner);
        items.push(Item {
            width: extent.width,
            height: extent.height,
            owner,
            is_box: true,
            x: 0,
            port: 0,
            above: Vec::new(),
            below: Vec::new(),
        });
    }
    let max_items = 5 * boxes.len() + 2000;
    // The last dummy of each box's line.
    let mut passing: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut left_out = Vec::new();
    let mut sorted: Vec<&Link> = links.iter().collect();
    sorted.sort_by_key(|link| (layers[link.to], link.from, link.to));
    for link in sorted {
        let n_passed = layers[link.to] - layers[link.from] - 1;
        let chain = passing.entry(link.from).or_default();
        if n_passed > chain.len() && items.len() + n_passed - chain.len() > max_items {
            left_out.push(*link);
            continue;
        }
        while chain.len() < n_passed {
            let above = chain.last().copied().unwrap_or(link.from);
            let layer = layers[link.from] + chain.len() + 1;
            let index = items.len();
            items.push(Item {
                width: DUMMY_WIDTH,
                height: 1,
                owner: link.from,
                is_box: false,
                x: 0,
                port: 0,
                above: vec![(above, false)],
                below: Vec::new(),
            });
            items[above].below.push(index);
            rows[layer].push(index);
            chain.push(index);
        }
        let above = n_passed.checked_sub(1).map_or(link.from, |last| chain[last]);
        items[above].below.push(link.to);
        items[link.to].above.push((above, link.is_solid));
        for dummy in &chain[..n_passed] {
            items[*dummy].above[0].1 |= link.is_solid;
        }
    }
    (items, rows, left_out)
}

/// Orders each layer so that lines cross seldom.
fn sort_rows(items: &[Item], rows: &mut [Vec<usize>]) {
    let mut rank = vec![0.0; items.len()];
    let note = |row: &[usize], rank: &mut Vec<f64>| {
        for (place, index) in row.iter().enumerate() {
            rank[*index] = (place as f64 + 0.5) / row.len() as f64;
        }
    };
    rows.iter().for_each(|row| note(row, &mut rank));
    for sweep in 0..N_SWEEPS {
        let goes_down = sweep % 2 == 0;
        let n_rows = rows.len();
        for step in 0..n_rows {
            let row = &mut rows[if goes_down { step } else { n_rows - 1 - step }];
            let wish =
                |index: usize| mean(items[index].neighbours(goes_down).map(|other| rank[other])).unwrap_or(rank[index]);
            let mut wished: Vec<(f64, usize)> = row.iter().map(|index| (wish(*index), *index)).collect();
            wished.sort_by(|a, b| a.0.total_cmp(&b.0));
            *row = wished.into_iter().map(|(_, index)| index).collect();
            note(row, &mut rank);
        }
    }
}

/// Gives all items their `x` and `port`.
fn place_rows(items: &mut [Item], rows: &[Vec<usize>]) {
    for row in rows {
        let mut x = 0;
        for index in row {
            items[*index].x = x;
            x += items[*index].width + GAP;
        }
    }
    for sweep in 0..2 * N_SWEEPS {
        let goes_down = sweep % 2 == 1;
        for step in 0..rows.len() {
            let row = &rows[if goes_down { step } else { rows.len() - 1 - step }];
            place_row(items, row, goes_down);
        }
    }
    let leftmost = items.iter().map(|item| item.x).min().unwrap_or(0);
    for item in items.iter_mut() {
        item.x -= leftmost;
        item.port = item.x + item.width / 2;
    }
}

/// Moves the items of a row to where their neighbours want them, without changing the order: pools those who want the
/// same room, as in isotonic regression.
fn place_row(items: &mut [Item], row: &[usize], goes_down: bool) {
    struct Pool {
        sum: f64,
        n: usize,
    }
    let mut offset = 0;
    let mut offsets = Vec::with_capacity(row.len());
    let mut pools: Vec<Pool> = Vec::new();
    for index in row {
        let item = &items[*index];
        let center = |other: usize| f64::from(items[other].x) + f64::from(items[other].width / 2);
        let wish =
            mean(item.neighbours(goes_down).map(center)).map_or(f64::from(item.x), |c| c - f64::from(item.width / 2));
        offsets.push(offset);
        pools.push(Pool { sum: wish - f64::from(offset), n: 1 });
        offset += item.width + GAP;
        while let [.., left, right] = pools.as_slice() {
            if left.sum / left.n as f64 <= right.sum / right.n as f64 {
                break;
            }
            let merged = Pool { sum: left.sum + right.sum, n: left.n + right.n };
            pools.truncate(pools.len() - 2);
            pools.push(merged);
        }
    }
    let places = pools.iter().flat_map(|pool| std::iter::repeat_n((pool.sum / pool.n as f64).round() as i32, pool.n));
    for ((index, place), offset) in row.iter().zip(places).zip(offsets) {
        items[*index].x = place + offset;
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

/// The room between a layer and the next.
struct Channel {
    n_tracks: i32,
    height: i32,
    /// Item above, its track if it needs one.
    tracks: BTreeMap<usize, i32>,
    arrivals: Vec<Arrival>,
}

/// The end of a line that crosses a channel.
struct Arrival {
    /// The item above.
    source: usize,
    /// The item below.
    target: usize,
    x: i32,
    is_solid: bool,
}

/// Decides where lines arrive, and on which track they go sideways.
fn channel_below(items: &mut [Item], rows: &[Vec<usize>], row: usize) -> Channel {
    let mut channel = Channel { n_tracks: 0, height: 0, tracks: BTreeMap::new(), arrivals: Vec::new() };
    let Some(next) = rows.get(row + 1) else { return channel };
    // Two lines in one column would look like one.
    let mut taken: BTreeMap<i32, usize> =
        rows[row].iter().filter(|index| !items[**index].below.is_empty()).map(|i| (items[*i].port, *i)).collect();
    for target in next {
        let mut sources = items[*target].above.clone();
        sources.sort_by_key(|(source, _)| items[*source].port);
        for (source, is_solid) in sources {
            let item = &items[*target];
            let (first, last) = match item.is_box {
                true => (item.x + 1, item.x + item.width - 2),
                false => (item.x, item.x + item.width - 1),
            };
            let is_free = |x: i32| taken.get(&x).is_none_or(|owner| *owner == source);
            let wish = items[source].port.clamp(first, last);
            let wish = if wish == items[source].port { wish } else { item.port };
            let candidates = (0..=last - first).flat_map(|d| [wish - d, wish + d]).take(64);
            let x = candidates.filter(|x| (first..=last).contains(x)).find(|x| is_free(*x)).unwrap_or(wish);
            taken.insert(x, source);
            channel.arrivals.push(Arrival { source, target: *target, x, is_solid });
            if !items[*target].is_box {
                items[*target].port = x;
            }
        }
    }
    let mut spans: BTreeMap<usize, (i32, i32)> = BTreeMap::new();
    for Arrival { source, x, .. } in &channel.arrivals {
        let port = items[*source].port;
        if port != *x {
            let span = spans.entry(*source).or_insert((port, port));
            *span = (span.0.min(*x), span.1.max(*x));
        }
    }
    let sorted: BTreeSet<(i32, i32, usize)> = spans.into_iter().map(|(source, (a, b))| (a, b, source)).collect();
    let mut ends: BinaryHeap<Reverse<(i32, i32)>> = BinaryHeap::new();
    for (start, end, source) in sorted {
        let track = match ends.peek() {
            Some(Reverse((last, track))) if *last + 1 < start => {
                let track = *track;
                ends.pop();
                track
            }
            _ => {
                channel.n_tracks += 1;
                channel.n_tracks - 1
            }
        };
        ends.push(Reverse((end, track)));
        channel.tracks.insert(source, track);
    }
    channel
}

fn draw(items: &[Item], rows: &[Vec<usize>], channels: &[Channel], n_boxes: usize, left_out: Vec<Link>) -> Layout {
    let mut layout = Layout { boxes: vec![Place::default(); n_boxes], left_out, ..Layout::default() };
    let mut tops = Vec::with_capacity(rows.len());
    let mut y = 0;
    for (row, channel) in rows.iter().zip(channels) {
        tops.push(y);
        y += height_of(items, row) + channel.height;
    }
    for ((row, channel), top) in rows.iter().zip(channels).zip(&tops) {
        let bottom = top + height_of(items, row);
        for index in row {
            let item = &items[*index];
            if item.is_box {
                let place = Place { x: item.x, y: *top, width: item.width, height: item.height };
                layout.boxes[item.owner] = place;
                layout.width = layout.width.max(item.x + item.width);
            } else {
                let points = vec![(item.port, *top), (item.port, bottom - 1)];
                let is_solid = item.above.iter().any(|(_, is_solid)| *is_solid);
                layout.routes.push(Route { from: item.owner, points, ends: false, is_solid });
                layout.width = layout.width.max(item.port + 1);
            }
        }
        layout.height = bottom;
        for Arrival { source, target, x, is_solid } in &channel.arrivals {
            let (above, below) = (&items[*source], &items[*target]);
            let start = if above.is_box { top + above.height - 1 } else { bottom - 1 };
            let end = bottom + channel.height;
            let mut points = vec![(above.port, start)];
            if above.port != *x {
                let track = bottom
                    + (channel.height - channel.n_tracks) / 2
                    + channel.tracks.get(source).copied().unwrap_or_default();
                points.extend([(above.port, track), (*x, track)]);
            }
            points.push((*x, end));
            layout.routes.push(Route { from: above.owner, points, ends: below.is_box, is_solid: *is_solid });
        }
    }
    layout
}

fn height_of(items: &[Item], row: &[usize]) -> i32 {
    row.iter().map(|index| items[*index].height).max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(from: usize, to: usize) -> Link {
        Link { from, to, is_solid: true }
    }

    fn boxes(n: usize) -> Vec<Extent> {
        vec![Extent { width: 11, height: 3 }; n]
    }

    fn overlap(a: Place, b: Place) -> bool {
        a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
    }

    #[test]
    fn a_chain_is_straight() {
        let layout = layout(&boxes(3), &[link(0, 1), link(1, 2)], 0);
        assert!(layout.boxes.iter().all(|place| place.x == 0));
        assert!(layout.routes.iter().all(|route| route.points.len() == 2));
        assert_eq!((layout.width, layout.height), (11, 11));
    }

    #[test]
    fn boxes_never_overlap_and_lines_run_down() {
        // Every pair of a small number of boxes may be linked or not; each mask is one graph.
        for mask in 0..1u32 << 10 {
            let pairs = (0..5).flat_map(|to| (0..to).map(move |from| (from, to)));
            let links: Vec<Link> =
                pairs.enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, (a, b))| link(a, b)).collect();
            let drawn = layout(&boxes(5), &links, 0);
            for a in 0..5 {
                for b in 0..a {
                    assert!(!overlap(drawn.boxes[a], drawn.boxes[b]), "{mask:b}");
                }
            }
            for link in &links {
                assert!(drawn.boxes[link.from].y + 3 < drawn.boxes[link.to].y, "{mask:b}");
            }
            let is_below = |points: &[(i32, i32)]| points.windows(2).all(|pair| pair[0].1 <= pair[1].1);
            assert!(drawn.routes.iter().all(|route| is_below(&route.points)), "{mask:b}");
        }
    }

    #[test]
    fn lines_of_different_boxes_do_not_share_a_column() {
        let drawn = layout(&boxes(6), &[link(0, 3), link(1, 3), link(2, 4), link(1, 4), link(0, 5), link(2, 5)], 0);
        let mut owners: BTreeMap<(i32, i32), usize> = BTreeMap::new();
        for route in &drawn.routes {
            for pair in route.points.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
                for y in pair[0].1..pair[1].1 {
                    let owner = owners.entry((pair[0].0, y)).or_insert(route.from);
                    assert_eq!(*owner, route.from, "{drawn:?}");
                }
            }
        }
    }

    #[test]
    fn large_graphs_take_room_in_proportion_to_their_size() {
        let n = 10_000;
        let chain: Vec<Link> = (1..n).map(|to| link(to - 1, to)).collect();
        assert_eq!(layout(&boxes(n), &chain, 0).height, 4 * n as i32 - 1);
        let star: Vec<Link> = (1..n).map(|to| link(0, to)).collect();
        assert_eq!(layout(&boxes(n), &star, 0).boxes.len(), n);
        // Everything is used by the last, too: as many dummies as there are pairs, if nothing kept them down.
        let far: Vec<Link> = (0..n - 2).map(|from| link(from, n - 1)).chain(chain).collect();
        let drawn = layout(&boxes(n), &far, 0);
        assert!(!drawn.left_out.is_empty() && drawn.routes.len() < 20 * n, "{}", drawn.routes.len());
    }
}
