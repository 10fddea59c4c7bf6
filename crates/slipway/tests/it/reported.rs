//! `slipway report`: a page about a build, as a file and in a browser.

use std::fs;
use std::process::{Command, Stdio};

use slipway_test::capability::Capability;

use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_page_tells_what_a_build_did_and_why", a_page_tells_what_a_build_did_and_why),
    test("a_failed_build_has_a_page", a_failed_build_has_a_page),
    test("builds_are_compared", builds_are_compared),
    test("what_steps_wrote_is_no_markup", what_steps_wrote_is_no_markup),
    Test { name: "a_browser_shows_the_page", needs: &[Capability::Chromium], run: a_browser_shows_the_page },
    Test {
        name: "a_browser_runs_nothing_of_a_log",
        needs: &[Capability::Chromium],
        run: a_browser_runs_nothing_of_a_log,
    },
];

const STAGES: &str = "FROM busybox AS base
RUN echo base-was-here
FROM base AS build
COPY a /a
RUN cat /a; head -c 500000 /dev/zero > /made; sleep 0.2
FROM base
COPY --from=build /made /
";

fn site() -> Site {
    let site = Site::new(STAGES);
    site.write("a", "one\n");
    site.build(&["--network=none", "-t", "app"]).success();
    site
}

#[track_caller]
fn report(site: &Site, arguments: &[&str]) -> String {
    let outcome = run(site.slipway().args(["report", "-o", "-"]).args(arguments)).success();
    String::from_utf8(outcome.stdout).unwrap()
}

#[track_caller]
fn assert_has(page: &str, expected: &[&str]) {
    for text in expected {
        assert!(page.contains(text), "`{text}` is not in\n{page}");
    }
}

fn a_page_tells_what_a_build_did_and_why() {
    let site = site();
    site.write("a", "two\n");
    site.build(&["--network=none", "-t", "app"]).success();
    let page = report(&site, &[]);
    assert_has(
        &page,
        &[
            "<h1>ctx</h1>",
            "<li>a: content</li>",
            "<li>it uses [build 1/2] COPY a /a, which differs</li>",
            "class=\"bar ran critical\"",
            "COPY --from=build /made /",
            "in the image\"><span>COPY --from=build /made /</span>",
            "Saved by the cache",
            "app:latest",
            "<span class=\"mark hit\" title=\"Cached\">",
            "build is based on base.",
        ],
    );
    let told = run(site.slipway().args(["report", "^1"])).success().stderr;
    assert_eq!(told, "The report is in slipway-report.html\n");
    let page = fs::read_to_string(site.path("ctx/slipway-report.html")).unwrap();
    assert_has(&page, &["base-was-here", "no earlier build of this step is remembered"]);
    let told = run(site.slipway().args(["report", "^9"])).failure();
    assert!(told.contains("no completed build found with offset 9"), "{told}");
    site.assert_tidy();
}

fn a_failed_build_has_a_page() {
    let site = Site::new("FROM busybox\nRUN echo about to fail; exit 7\nRUN true\n");
    site.build(&["--network=none"]).failure();
    assert_has(
        &report(&site, &[]),
        &["The build failed", "exit code: 7", "about to fail", "<details open>", "Not reached"],
    );
}

fn builds_are_compared() {
    let site = site();
    site.write("Dockerfile", &STAGES.replace("COPY a /a\n", "COPY a /b\n").replace("500000", "900000"));
    site.build(&["--network=none"]).success();
    site.write("Dockerfile", &STAGES.replace("500000", "900000"));
    site.build(&["--network=none"]).success();
    let page = report(&site, &["^0", "--against", "^1"]);
    assert_has(&page, &["Compared with <code>", ">gone</td>", ">new</td>", "<td class=\"n\">cached</td>"]);
}

fn what_steps_wrote_is_no_markup() {
    let evil = r"printf '</pre><script>alert(1)</script>\033[31mred\033[0m<img src=x onerror=alert(1)>\n'";
    let site = Site::new(&format!("FROM busybox AS a\nLABEL x=\"<b>\"\nRUN {evil}\n"));
    site.build(&["--network=none", "--label", "y=<script>alert(2)</script>"]).success();
    let page = report(&site, &[]);
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\x1b'), "{page}");
    assert_has(&page, &["&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;red&lt;img", "y=&lt;script&gt;"]);
}

/// What the browser makes of the page at `url`, when all that is to happen has happened.
fn dom(site: &Site, url: &str) -> String {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", site.name("browser")))
        .arg(url)
        .env("HOME", site.path("home"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The `<details>` elements that are open, by the ids in them.
fn open_steps(dom: &str) -> Vec<String> {
    let details = dom.split("<details open").skip(1).map(|rest| rest.split("</details>").next().unwrap());
    details.filter_map(|text| Some(text.split("id=\"step-").nth(1)?.split('"').next()?.to_owned())).collect()
}

/// A link to a step opens it: that is how bars, areas and rows of tables lead there.
fn a_browser_shows_the_page() {
    let site = site();
    run(site.slipway().args(["report", "-o", "r.html"])).success();
    let url = format!("file://{}", site.name("ctx/r.html"));
    let page = fs::read_to_string(site.path("ctx/r.html")).unwrap();
    let whole = dom(&site, &url);
    assert_eq!(whole.matches("<section").count(), page.matches("<section").count(), "{whole}");
    assert_eq!(whole.matches("<details").count(), page.matches("<details").count());
    assert!(open_steps(&whole).is_empty(), "nothing failed, so nothing is open");
    let bar = page.split("<a class=\"bar ran").nth(1).unwrap();
    let link = bar.split("href=\"#").nth(1).unwrap().split('"').next().unwrap();
    let followed = dom(&site, &format!("{url}#{link}"));
    assert_eq!(open_steps(&followed), [link.strip_prefix("step-").unwrap()]);
}

fn a_browser_runs_nothing_of_a_log() {
    let evil = "printf '</pre><script>document.title=\"taken\"</script><svg onload=document.title=\"taken\">\\n'";
    let site = Site::new(&format!("FROM busybox\nRUN {evil}; exit 1\n"));
    site.build(&["--network=none"]).failure();
    run(site.slipway().args(["report", "-o", "r.html"])).success();
    let whole = dom(&site, &format!("file://{}", site.name("ctx/r.html")));
    assert!(whole.contains("<title>ctx · slipway</title>"), "{whole}");
    assert_eq!(open_steps(&whole).len(), 1, "what failed is open");
}
