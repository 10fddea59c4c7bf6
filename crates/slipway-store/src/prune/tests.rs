use slipway_oci::{DiffId, Platform};

use super::*;
use crate::testing::{digest, empty_store};
use crate::{BuildLimits, ImageRecord, NewBuild, OverlayFlavor, Sharing, Snapshot};

fn all(_: &Usage) -> bool {
    true
}

fn step(store: &Store, below: Option<&Snapshot>, key: &str, bytes: usize) -> Snapshot {
    let active = store.begin(below).unwrap();
    std::fs::write(active.upper().join("file"), vec![1; bytes]).unwrap();
    let snapshot = active.commit(1).unwrap();
    store.record(&[digest(key)], snapshot.id(), None).unwrap();
    snapshot
}

/// The same store as another process sees it.
fn other(store: &Store) -> Store {
    Store::open(store.root(), OverlayFlavor::Root).unwrap()
}

fn name_of(snapshot: &Snapshot) -> String {
    snapshot.layers().last().unwrap().as_str().to_owned()
}

#[test]
fn what_a_living_process_uses_stays() {
    let (_folder, store) = empty_store();
    let (old, unused) = {
        let earlier = other(&store);
        (step(&earlier, None, "old", 1), step(&earlier, None, "unused", 1))
    };
    let builder = other(&store);
    assert_eq!(builder.lookup(&digest("old")).unwrap().unwrap().snapshot, old);
    let made = step(&builder, Some(&old), "made", 1);
    let blob = builder.put_blob(b"made").unwrap().digest;

    let gone = store.prune(false, Bounds::default(), all).unwrap();
    assert_eq!(gone.iter().map(|usage| &usage.name).collect::<Vec<_>>(), [&name_of(&unused)]);
    assert!(builder.lookup(&digest("made")).unwrap().is_some());
    assert!(store.layer_path(&made.layers()[1]).exists() && builder.has_blob(&blob).unwrap());
    assert!(!store.layer_path(&unused.layers()[0]).exists());
    assert_eq!(store.fsck().unwrap(), []);

    drop(builder);
    assert_eq!(store.prune(false, Bounds::default(), all).unwrap().len(), 3);
    assert_eq!(store.usage().unwrap(), []);
    assert_eq!(store.fsck().unwrap(), []);
}

#[test]
fn what_others_lie_on_stays_with_them() {
    let (_folder, store) = empty_store();
    let (lower, upper) = {
        let builder = other(&store);
        let lower = step(&builder, None, "lower", 1);
        (lower.clone(), step(&builder, Some(&lower), "upper", 1))
    };
    let only_lower = |usage: &Usage| usage.name == name_of(&lower);
    assert_eq!(store.prune(false, Bounds::default(), only_lower).unwrap(), []);
    let only_upper = |usage: &Usage| usage.name == name_of(&upper);
    assert_eq!(store.prune(false, Bounds::default(), only_upper).unwrap().len(), 1);
    assert_eq!(store.prune(false, Bounds::default(), only_lower).unwrap().len(), 1);
    assert_eq!(store.fsck().unwrap(), []);
}

#[test]
fn bounds_take_the_least_recently_used_first() {
    let (_folder, store) = empty_store();
    let builder = other(&store);
    let snapshots = ["a", "b", "c"].map(|key| step(&builder, None, key, 1 << 20));
    drop(builder);
    // In another order than they were made in.
    for (key, time) in [("c", 10), ("a", 20), ("b", 30)] {
        let user = other(&store);
        user.lookup(&digest(key)).unwrap().unwrap();
        let build = NewBuild { id: key, ended_ns: time, record: b"", log: None, refers_to: &[], notes: &[] };
        user.add_build(build, BuildLimits::default()).unwrap();
    }
    let bounds = Bounds { max_used_bytes: Some(5 << 19), ..Bounds::default() };
    let gone = store.prune(false, bounds, all).unwrap();
    assert_eq!(gone.iter().map(|usage| &usage.name).collect::<Vec<_>>(), [&name_of(&snapshots[2])]);
    let reserved = Bounds { reserved_bytes: Some(3 << 20), ..bounds };
    assert_eq!(store.prune(false, reserved, all).unwrap(), []);
    let left = store.usage().unwrap();
    let mut uses: Vec<_> = left.iter().map(|usage| (usage.last_used_ns, usage.n_uses)).collect();
    uses.sort();
    assert_eq!(uses, [(Some(20), 1), (Some(30), 1)]);
}

#[test]
fn a_cap_counts_the_records_of_builds_and_the_database() {
    let (_folder, store) = empty_store();
    let builder = other(&store);
    let record = vec![b'r'; 3 << 20];
    for id in ["a", "b"] {
        let build = NewBuild { id, ended_ns: 1, record: &record, log: None, refers_to: &[], notes: &[] };
        builder.add_build(build, BuildLimits::default()).unwrap();
    }
    builder.set_fact("kind", "key", &vec![1; 3 << 20]).unwrap();
    step(&builder, None, "step", 1 << 20);
    drop(builder);
    let within = |mib: u64| {
        let bounds = Bounds { max_used_bytes: Some(mib << 20), ..Bounds::default() };
        let gone = store.keep_within(bounds, || true).unwrap();
        (gone.len(), store.builds().unwrap().count(), store.metadata_bytes().unwrap())
    };
    assert_eq!(within(20).0, 0);
    let (n_gone, n_builds, _) = within(9);
    assert_eq!((n_gone, n_builds), (2, 2), "the layer, then the facts");
    let (n_gone, n_builds, left_bytes) = within(4);
    assert_eq!((n_gone, n_builds), (0, 1));
    assert!(left_bytes < 4 << 20, "{left_bytes} bytes are left");
    assert_eq!(store.fsck().unwrap(), []);
}

#[test]
fn facts_of_layers_go_with_them() {
    let (_folder, store) = empty_store();
    let builder = other(&store);
    let layer = step(&builder, None, "step", 1).layers()[0].clone();
    builder.set_fact(FACTS_OF_LAYERS, layer.as_str(), b"from others").unwrap();
    assert_eq!(store.prune(false, Bounds::default(), all).unwrap(), [], "the builder uses the layer");
    assert!(store.fact(FACTS_OF_LAYERS, layer.as_str()).unwrap().is_some());
    drop(builder);
    assert_eq!(store.prune(false, Bounds::default(), all).unwrap().len(), 1);
    assert_eq!(store.fact(FACTS_OF_LAYERS, layer.as_str()).unwrap(), None);
}

#[test]
fn a_cap_waits_only_as_long_as_it_is_told_to() {
    let (_folder, store) = empty_store();
    step(&other(&store), None, "old", 1 << 20);
    let looks = other(&store);
    assert!(looks.lookup(&digest("old")).unwrap().is_some());
    let bounds = Bounds { max_used_bytes: Some(1), ..Bounds::default() };
    assert_eq!(store.keep_within(bounds, || false).unwrap(), [], "somebody has a share in the lock");
    drop(looks);
    assert_eq!(store.keep_within(bounds, || false).unwrap().len(), 1);
}

#[test]
fn an_image_with_a_name_can_always_be_had() {
    let (_folder, store) = empty_store();
    let builder = other(&store);
    let [packed, bare] = ["packed", "bare"].map(|key| {
        let snapshot = step(&builder, None, key, 1);
        builder.set_diff_id(&snapshot.layers()[0], &DiffId(digest(key)), 1).unwrap();
        snapshot
    });
    let blob = builder.put_blob(b"blob").unwrap();
    let blob = slipway_oci::Descriptor::new("application/x", blob.digest, blob.size_bytes);
    builder.add_layer_blob(&DiffId(digest("packed")), &blob).unwrap();
    let image = ImageRecord {
        manifest: None,
        config: builder.put_blob(b"{}").unwrap().digest,
        layers: vec![DiffId(digest("packed")), DiffId(digest("bare"))],
        created: None,
        platform: Platform::new("linux", "amd64", None),
        registry_digest: None,
        others: Vec::new(),
    };
    builder.name_image(&"app".parse().unwrap(), &image).unwrap();
    drop(builder);
    assert_eq!(store.prune(true, Bounds::default(), all).unwrap(), []);
    let gone = store.prune(false, Bounds::default(), all).unwrap();
    assert_eq!(gone.iter().map(|usage| &usage.name).collect::<Vec<_>>(), [&name_of(&packed)]);
    assert!(store.layer_path(&bare.layers()[0]).exists());
    assert_eq!(store.fsck().unwrap(), []);
}

#[test]
fn an_image_without_a_name_goes_with_its_first_part() {
    let (_folder, store) = empty_store();
    let builder = other(&store);
    let image = |key: &str| {
        let snapshot = step(&builder, None, key, 1);
        builder.set_diff_id(&snapshot.layers()[0], &DiffId(digest(key)), 1).unwrap();
        let image = ImageRecord {
            manifest: None,
            config: builder.put_blob(key.as_bytes()).unwrap().digest,
            layers: vec![DiffId(digest(key))],
            created: None,
            platform: Platform::new("linux", "amd64", None),
            registry_digest: None,
            others: Vec::new(),
        };
        builder.list_unnamed(&image).unwrap();
        (image, name_of(&snapshot))
    };
    let [(kept, _), (_, layer)] = ["kept", "gone"].map(image);
    drop(builder);
    assert_eq!(store.unnamed_images().unwrap().len(), 2);
    assert_eq!(store.prune(true, Bounds::default(), |usage| usage.name == layer).unwrap().len(), 1);
    assert_eq!(store.unnamed_images().unwrap(), [kept]);
    assert_eq!(store.fsck().unwrap(), []);
    store.prune(true, Bounds::default(), all).unwrap();
    assert_eq!((store.unnamed_images().unwrap(), store.usage().unwrap()), (vec![], vec![]));
}

#[test]
fn a_cache_mount_that_went_is_seeded_anew() {
    let (_folder, store) = empty_store();
    let seed = |path: &Path| std::fs::write(path.join("seed"), "");
    let mount = |store: &Store| store.cache_mount("id", Sharing::Locked, seed, || true).unwrap().unwrap();
    let builder = other(&store);
    let held = mount(&builder);
    std::fs::write(held.path().join("more"), "").unwrap();
    assert_eq!(store.prune(false, Bounds::default(), all).unwrap(), []);
    drop(held);
    drop(builder);
    let gone = store.prune(false, Bounds::default(), all).unwrap();
    assert_eq!(gone[0].record_type, "exec.cachemount");
    let again = mount(&store);
    assert!(again.path().join("seed").exists() && !again.path().join("more").exists());
}

#[test]
fn excess_is_what_is_above_the_bounds() {
    let bounds = |reserved, max, free| Bounds { reserved_bytes: reserved, max_used_bytes: max, min_free_bytes: free };
    for (bounds, expected) in [
        (bounds(None, None, None), u64::MAX),
        (bounds(Some(30), None, None), 70),
        (bounds(Some(200), None, None), 0),
        (bounds(None, Some(60), None), 40),
        (bounds(Some(80), Some(60), None), 20),
        (bounds(None, None, Some(15)), 5),
        (bounds(None, Some(60), Some(60)), 50),
    ] {
        assert_eq!(bounds.excess_bytes(100, 10), expected, "{bounds:?}");
    }
}
