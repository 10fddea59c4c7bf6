//! Keys in, pictures out.

use std::io;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use slipway_analyze::{Analysis, Compat, LayerSource, Origin, Place, Supplier};

use crate::{Explorer, Hidden, KeyBindings, Settings, Subject, Wish};

/// A tar with a file for each `path:content`; a name that begins with `.wh.` removes one.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, content) in files {
        let mut header = [0_u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(100, "0000644");
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\u{0}00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend(header);
        tar.extend(content.as_bytes());
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn image() -> Analysis {
    let layers = [
        ("ADD root", tar(&[("bin/sh", "shell"), ("etc/conf", "old"), ("etc/gone", "x")])),
        (
            "RUN a &&\n b",
            tar(&[("etc/conf", "newer"), ("etc/.wh.gone", ""), ("app/main", "program"), ("app/lib/a.so", "lib")]),
        ),
        ("COPY x /", tar(&[("x\u{1b}[2J", "xx")])),
    ];
    let sources = layers.into_iter().enumerate().map(|(index, (command, tar))| LayerSource {
        id: format!("{index}").repeat(20),
        digest: format!("sha256:{index}"),
        command: command.to_owned(),
        origin: None,
        compressed_bytes: None,
        open: Box::new(move || Ok(Box::new(io::Cursor::new(tar.clone())) as Box<dyn io::Read>)),
    });
    Analysis::of(&sources.collect::<Vec<_>>(), Compat::Corrected, false).unwrap()
}

fn settings() -> Settings {
    Settings {
        keys: KeyBindings::of(|_| None).unwrap(),
        hidden: Hidden::default(),
        folds_folders: false,
        shows_attributes: true,
        shows_aggregated: false,
        tree_width: 0.5,
        has_colors: true,
    }
}

struct Screen<'a> {
    explorer: Explorer<'a>,
    terminal: Terminal<TestBackend>,
}

impl<'a> Screen<'a> {
    fn new(image: &'a Analysis, columns: u16, rows: u16) -> Screen<'a> {
        let subject = Subject { name: "app:1".to_owned(), tags: vec!["app:1".to_owned()] };
        let terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        Screen { explorer: Explorer::new(image, subject, settings()), terminal }
    }

    /// Letters, and `^x`, `Down`, `Tab`, `Esc`, `Enter`, `Left`, `Right`, `Space`, separated by blanks.
    fn press(&mut self, keys: &str) -> Option<Wish> {
        let mut wish = None;
        for key in keys.split(' ').filter(|key| !key.is_empty()) {
            let event = match key {
                "Down" => KeyEvent::new(KeyCode::Down, KeyModifiers::NONE),
                "Tab" => KeyEvent::new(KeyCode::Tab, KeyModifiers::NONE),
                "Esc" => KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE),
                "Enter" => KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE),
                "Left" => KeyEvent::new(KeyCode::Left, KeyModifiers::NONE),
                "Right" => KeyEvent::new(KeyCode::Right, KeyModifiers::NONE),
                "Space" => KeyEvent::new(KeyCode::Char(' '), KeyModifiers::NONE),
                "^Space" => KeyEvent::new(KeyCode::Char(' '), KeyModifiers::CONTROL),
                _ => match key.strip_prefix('^') {
                    Some(letter) => KeyEvent::new(KeyCode::Char(letter.chars().next().unwrap()), KeyModifiers::CONTROL),
                    None => KeyEvent::new(KeyCode::Char(key.chars().next().unwrap()), KeyModifiers::NONE),
                },
            };
            wish = self.explorer.press(event);
            // Pages are as long as the last picture.
            self.lines();
        }
        wish
    }

    fn lines(&mut self) -> Vec<String> {
        self.terminal.draw(|frame| self.explorer.draw(frame)).unwrap();
        let buffer = self.terminal.backend().buffer();
        let columns = usize::from(buffer.area.width).max(1);
        let cells: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
        cells.chunks(columns).map(|row| row.concat().trim_end().to_owned()).collect()
    }

    /// The right half, without the heading and the last line.
    fn tree(&mut self) -> Vec<String> {
        let lines = self.lines();
        let tree = lines[2..lines.len() - 1].iter().map(|line| {
            let line: String = line.chars().skip(60).collect();
            let line = line.trim_end();
            // The columns of attributes are looked at by another test.
            let (sign, name) = (line.chars().next().unwrap_or(' '), line.chars().skip(36).collect::<String>());
            format!("{sign} {name}").trim_end().to_owned()
        });
        tree.filter(|line| !line.is_empty()).collect()
    }
}

#[test]
fn the_first_screen_shows_layers_details_and_the_tree() {
    let image = image();
    let lines = Screen::new(&image, 120, 24).lines();
    let expected = [
        "┃● Layers                                                   │ Current Layer Contents",
        "Cmp    Size  Command                                          Permission     UID:GID       Size Filetree",
        " █     9 B  FROM 000000000000000                              drwxr-xr-x",
    ];
    assert_eq!(lines[..2], expected[..2]);
    assert!(lines[2].starts_with(" █     9 B  FROM 000000000000000  "), "{}", lines[2]);
    assert!(lines[3].starts_with("      15 B  RUN a &&↵ b  "), "{}", lines[3]);
    let all = lines.join("\n");
    for part in
        ["Tags: app:1", "Id: 00000000000000000000", "Digest: sha256:0", "Total Image size: 26 B", "Image name: app:1"]
    {
        assert!(all.contains(part), "{part} is missing in\n{all}");
    }
    assert!(all.contains("-rw-r--r--         0:0        5 B │   └── sh"), "{all}");
    assert!(lines[23].starts_with("^C Quit  Tab Switch view  ^F Filter  ^L Show layer changes"), "{}", lines[23]);
}

#[test]
fn layers_show_what_they_change() {
    let image = image();
    let mut screen = Screen::new(&image, 120, 24);
    screen.press("Down");
    let second = [
        "+ ├── app",
        "+ │   ├── lib",
        "+ │   │   └── a.so",
        "+ │   └── main",
        "  ├── bin",
        "  │   └── sh",
        "~ └── etc",
        "~     ├── conf",
        "-     └── gone",
    ];
    assert_eq!(screen.tree(), second);
    screen.press("Down");
    assert_eq!(screen.tree().last().unwrap(), "+ └── x\u{fffd}[2J");
    assert!(screen.tree().contains(&"  ├── app".to_owned()));
    screen.press("^a");
    assert!(screen.tree().contains(&"+ ├── app".to_owned()));
    assert!(screen.lines()[0].contains("Aggregated Layer Contents"));
    screen.press("Down Down Down ^l k k k k");
    assert_eq!(screen.explorer.layer, 0);
}

#[test]
fn the_tree_is_folded_hidden_sorted_and_filtered() {
    let image = image();
    let mut screen = Screen::new(&image, 120, 24);
    // What was chosen stays so where another layer has it too.
    screen.press("Down Tab k k k k Space");
    assert_eq!(screen.tree()[..2], ["+ ├─⊕ app", "  ├── bin"]);
    screen.press("Right Down Left");
    assert_eq!(screen.tree()[..3], ["+ ├── app", "+ │   ├─⊕ lib", "+ │   └── main"]);
    screen.press("Left Left");
    assert_eq!(screen.tree()[0], "+ ├─⊕ app");
    screen.press("^Space");
    assert_eq!(screen.tree(), ["+ ├─⊕ app", "  ├─⊕ bin", "~ └─⊕ etc"]);
    screen.press("^Space 4 1");
    assert!(screen.tree().iter().all(|line| !line.contains("sh") && !line.contains("main")), "{:?}", screen.tree());
    screen.press("4 1 ^f c o n f");
    assert_eq!(screen.tree(), ["~ └── etc", "~     └── conf"]);
    assert!(screen.lines().iter().any(|line| line.starts_with("Path filter: conf")));
    screen.press("(");
    assert!(screen.lines().last().unwrap().contains("not yet a regular expression"));
    assert_eq!(screen.tree(), ["~ └── etc", "~     └── conf"]);
    screen.press("Enter Esc ^b ^o");
    assert!(screen.lines()[1].trim_end().ends_with("  Filetree"));
    assert_eq!(screen.press("q"), Some(Wish::Quit));
}

#[test]
fn a_file_is_extracted_from_the_layer_that_has_it() {
    let image = image();
    let mut screen = Screen::new(&image, 120, 24);
    screen.press("Down Down Tab ^f b i n / s h Enter Down");
    assert_eq!(screen.press("^e"), Some(Wish::Extract { layer: 0, path: b"bin/sh".to_vec() }));
    screen.press("k");
    assert_eq!(screen.press("^e"), None, "a folder is no file");
}

#[test]
fn lines_and_stages_are_shown_where_they_are_known() {
    let mut image = image();
    let place = Place { file: "Dockerfile".to_owned(), first_line: 7, last_line: 8 };
    let from = Supplier::Stage("build".to_owned());
    image.layers[1].origin = Some(Origin { from, stage: Some("final".to_owned()), place });
    let mut screen = Screen::new(&image, 120, 24);
    let has = |lines: Vec<String>, part: &str| lines.iter().any(|line| line.contains(part));
    assert!(has(screen.lines(), "Made by: not known"));
    screen.press("Down");
    assert!(has(screen.lines(), "Made by: Dockerfile:7-8, stage final, from stage build"));
    screen.press("s");
    let table: Vec<String> = screen.lines()[5..11].iter().map(|line| line.chars().take(50).collect()).collect();
    let table: Vec<&str> = table.iter().map(|line| line.trim_end()).collect();
    let expected = [
        "│ Where the bytes come from",
        "   Visible      Stored  From",
        "      15 B        15 B  stage build",
        "                        Dockerfile:7-8",
        "       7 B        11 B  not known",
        "",
    ];
    assert_eq!(table, expected);
    screen.press("s");
    assert!(has(screen.lines(), "Layer Details"));
}

#[test]
fn layers_stand_there_before_they_are_read() {
    let mut terminal = Terminal::new(TestBackend::new(60, 6)).unwrap();
    let titles = ["ADD root", "RUN a &&\n b"];
    terminal.draw(|frame| crate::loading(frame, "app:1", &titles, &[None, Some(15_000)])).unwrap();
    let buffer = terminal.backend().buffer();
    let cells: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
    let lines: Vec<String> = cells.chunks(60).map(|row| row.concat().trim_end().to_owned()).collect();
    let expected = [
        "┃● Layers",
        "Cmp    Size  Command",
        "         …  ADD root",
        "     15 kB  RUN a &&↵ b",
        "",
        "Reading app:1: 1 of 2 layers  ^C Quit",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn any_size_can_be_drawn() {
    let image = image();
    for (columns, rows) in [(0, 0), (1, 1), (3, 200), (79, 5), (80, 2), (500, 3)] {
        let mut screen = Screen::new(&image, columns, rows);
        screen.press("Down Tab Down ^f x");
        screen.terminal.draw(|frame| crate::loading(frame, "app", &["RUN x\ny"], &[None])).unwrap();
    }
    let mut narrow = Screen::new(&image, 60, 24);
    assert!(narrow.lines()[0].contains("Layers") && !narrow.lines()[0].contains("Contents"));
    narrow.press("Tab");
    assert!(narrow.lines()[0].contains("Current Layer Contents"));
}

#[test]
fn an_image_without_layers_has_screens_too() {
    let image = Analysis::of(&[], Compat::Corrected, false).unwrap();
    let mut screen = Screen::new(&image, 120, 24);
    screen.press("Down Tab Down Space ^a Left Right");
    assert_eq!(screen.press("^e"), None);
}
