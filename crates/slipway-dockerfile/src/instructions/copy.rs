//! `COPY` and `ADD` (`spec/dockerfile.md` sections 3.4 and 3.5).

use std::collections::HashMap;

use slipway_graph::git::redacted;
use slipway_graph::op::{CopyAction, FileAction, FileOp, MkfileAction, Mode, Owner, OwnerId, Source, Unpack};
use slipway_graph::{Op, VertexId};

use super::flags::{self, FlagKind};
use super::remote::{Fetching, Place};
use super::words;
use crate::facts::Seen;
use crate::stage_builder::{Step, error_at};
use crate::{Diagnostic, Heredoc, Instruction, Keyword, paths, symbolic_mode};

#[derive(Clone, Debug)]
pub(crate) struct Copy {
    is_add: bool,
    /// `None` and empty are the build context.
    pub(crate) from: Option<String>,
    chown: Option<String>,
    chmod: Option<String>,
    is_link: bool,
    has_parents: bool,
    excludes: Vec<String>,
    checksum: Option<String>,
    keeps_git_dir: Option<bool>,
    unpack: Option<bool>,
    /// Not expanded.
    sources: Vec<String>,
    heredocs: Vec<Heredoc>,
    /// Not expanded.
    dest: String,
}

const SHARED_FLAGS: [(&str, FlagKind); 4] =
    [("chown", FlagKind::Text), ("chmod", FlagKind::Text), ("link", FlagKind::Bool), ("exclude", FlagKind::Texts)];
const COPY_FLAGS: [(&str, FlagKind); 2] = [("from", FlagKind::Text), ("parents", FlagKind::Bool)];
const ADD_FLAGS: [(&str, FlagKind); 3] =
    [("checksum", FlagKind::Text), ("keep-git-dir", FlagKind::Bool), ("unpack", FlagKind::Bool)];

pub(super) fn check(instruction: &Instruction) -> Result<Copy, Diagnostic> {
    let is_add = instruction.keyword == Keyword::Add;
    let own_flags: &[_] = if is_add { &ADD_FLAGS } else { &COPY_FLAGS };
    let flags = flags::check(instruction, &[&SHARED_FLAGS, own_flags].concat())?;
    let (sources, dest) = sources_and_dest(instruction)?;
    let from = flags.text("from").filter(|from| !from.is_empty());
    Ok(Copy {
        is_add,
        from,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        is_link: flags.flag("link").unwrap_or(false),
        has_parents: flags.flag("parents").unwrap_or(false),
        excludes: flags.texts("exclude"),
        checksum: flags.text("checksum").filter(|text| !text.is_empty()),
        keeps_git_dir: flags.flag("keep-git-dir"),
        unpack: flags.flag("unpack"),
        sources,
        heredocs: instruction.heredocs.clone(),
        dest,
    })
}

impl Copy {
    fn fetching<E>(&self, expand: impl Fn(&str) -> Result<String, E>) -> Result<Fetching, E> {
        let checksum = self.checksum.as_deref().map(expand).transpose()?;
        Ok(Fetching { keeps_git_dir: self.keeps_git_dir, checksum })
    }

    /// What it fetches, if that is one thing and remote: the only source of an `ADD`.
    pub(crate) fn only_remote(
        &self,
        expand: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Option<Source>, String> {
        match (self.is_add, self.sources.as_slice()) {
            (true, [source]) if self.heredocs.is_empty() => {
                let source = expand(source)?;
                Place::of(&source).source(&source, &self.fetching(expand)?)
            }
            _ => Ok(None),
        }
    }

    /// Whether it takes files of the build context; what a variable stands for is taken to be a file there.
    pub(crate) fn reads_context(&self) -> bool {
        let is_remote = |source: &String| self.is_add && !matches!(Place::of(source), Place::Files);
        self.from.is_none() && !self.sources.iter().all(is_remote)
    }

    pub(crate) fn is_add(&self) -> bool {
        self.is_add
    }
}

/// Refuses variables in `--from`: a stage has to be known before they are.
pub(super) fn check_from(copy: &Copy, instruction: &Instruction) -> Result<(), Diagnostic> {
    if !copy.from.as_deref().is_some_and(|from| from.contains('$')) {
        return Ok(());
    }
    let way_out = "define a new stage with FROM using ARG from global scope as a workaround";
    let message = format!("variable expansion is not supported for --from, {way_out}");
    Err(error_at(instruction, instruction.span, message))
}

/// The sources that are no heredocs, and the destination.
fn sources_and_dest(instruction: &Instruction) -> Result<(Vec<String>, String), Diagnostic> {
    // Heredocs are in the order of their words.
    let is_heredoc = |word: &&crate::Word| {
        let heredocs = &instruction.heredocs;
        let at = heredocs.partition_point(|heredoc| heredoc.word.span.end < word.span.end);
        heredocs.get(at).is_some_and(|heredoc| heredoc.word.span.start <= word.span.start)
    };
    match words(instruction) {
        [] => Ok((Vec::new(), String::new())),
        [.., dest] if is_heredoc(&dest) => {
            let message = format!("{} cannot accept a heredoc as a destination", instruction.keyword.as_str());
            Err(error_at(instruction, dest.span, message))
        }
        [sources @ .., dest] => {
            let plain = sources.iter().filter(|word| !is_heredoc(word)).map(|word| word.text.clone()).collect();
            Ok((plain, dest.text.clone()))
        }
    }
}

pub(super) fn lower(copy: &Copy, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let words = Expanded::of(copy, step)?;
    // A mode may have to be applied to folders that are there already, which a layer of its own cannot see.
    let is_linked = copy.is_link && copy.chmod.is_none();
    let base = if is_linked { step.build.scratch() } else { step.stage.vertex };
    if let Some(owner) = &words.owner {
        check_owner(owner, base, step)?;
    }
    // The text sees the variables as they are before the instruction, as everything in it does.
    let text = without_logins(step.text(""));
    let name = step.stage.next_name(&text);
    let mut op = OpBuilder { actions: Vec::new(), inputs: vec![base], name };
    for source in &words.sources {
        add_source(copy, source, &words, &mut op, step)?;
    }
    for (heredoc, data) in copy.heredocs.iter().zip(&words.bodies) {
        op.actions.push(FileAction::Mkfile(MkfileAction {
            dest: words.dest_path.clone(),
            name: super::heredoc_file(&heredoc.name, step)?,
            data: data.clone(),
            owner: words.owner.clone(),
            mode: words.mode.clone(),
        }));
    }
    if is_linked {
        let link_name = step.stage.names.current(&format!("LINK {text}"));
        link(op, link_name, step);
    } else {
        step.stage.vertex =
            step.add(Op::File(FileOp { actions: op.actions }), op.inputs, op.name, step.stage.ignores_cache);
    }
    step.record(words.history(copy), true);
    Ok(())
}

/// A `COPY` with its variables filled in.
struct Expanded {
    sources: Vec<String>,
    bodies: Vec<Vec<u8>>,
    dest: String,
    /// Absolute; a `/` at the end says that it is a folder.
    dest_path: String,
    chown: Option<String>,
    chmod: Option<String>,
    owner: Option<Owner>,
    mode: Option<Mode>,
}

impl Expanded {
    fn of(copy: &Copy, step: &Step<'_, '_>) -> Result<Expanded, Diagnostic> {
        let expand = |text: &String| step.expand(text);
        // In the order in which the reference builder does it: the first mistake is the one that is told.
        let chown = copy.chown.as_ref().map(expand).transpose()?.filter(|text| !text.is_empty());
        let chmod = copy.chmod.as_ref().map(expand).transpose()?.filter(|text| !text.is_empty());
        let sources = copy.sources.iter().map(expand).collect::<Result<_, _>>()?;
        let dest = step.expand(&copy.dest)?;
        Ok(Expanded {
            sources,
            bodies: bodies(&copy.heredocs, step)?,
            dest_path: paths::destination(step.stage.cwd(), &dest),
            dest,
            owner: chown.as_deref().map(owner_of),
            mode: chmod.as_deref().map(|text| mode_of(text).map_err(|e| step.error(e))).transpose()?,
            chown,
            chmod,
        })
    }

    fn history(&self, copy: &Copy) -> String {
        let mut text = String::from(if copy.is_add { "ADD" } else { "COPY" });
        if copy.has_parents {
            text += " --parents";
        }
        for (flag, value) in [("chown", &self.chown), ("chmod", &self.chmod)] {
            if let Some(value) = value {
                text += &format!(" --{flag}={value}");
            }
        }
        for source in &self.sources {
            // The image goes to others, and so does its history.
            text += &format!(" {}", redacted(source));
        }
        for heredoc in &copy.heredocs {
            text += &format!(" <<{}", heredoc.name);
        }
        text + &format!(" {} # buildkit", self.dest)
    }
}

/// What the files of heredocs hold. Two heredocs of one name both get the later body, as in the reference.
fn bodies(heredocs: &[Heredoc], step: &Step<'_, '_>) -> Result<Vec<Vec<u8>>, Diagnostic> {
    let last: HashMap<&str, &Heredoc> = heredocs.iter().map(|heredoc| (heredoc.name.as_str(), heredoc)).collect();
    heredocs.iter().map(|heredoc| body_of(last[heredoc.name.as_str()], step)).collect()
}

fn body_of(heredoc: &Heredoc, step: &Step<'_, '_>) -> Result<Vec<u8>, Diagnostic> {
    let body = heredoc.stripped_body();
    if !heredoc.expands {
        return Ok(body.into_bytes());
    }
    step.expand_body(&body).map(String::into_bytes)
}

/// A file op while its sources are added.
struct OpBuilder {
    actions: Vec<FileAction>,
    inputs: Vec<VertexId>,
    name: String,
}

impl OpBuilder {
    /// The number under which `vertex` is an input.
    fn input(&mut self, vertex: VertexId) -> usize {
        // Input 0 is what is changed, even where the same files are copied from.
        match self.inputs.iter().skip(1).position(|known| *known == vertex) {
            Some(index) => index + 1,
            None => {
                self.inputs.push(vertex);
                self.inputs.len() - 1
            }
        }
    }
}

fn add_source(
    copy: &Copy,
    source: &str,
    words: &Expanded,
    op: &mut OpBuilder,
    step: &mut Step<'_, '_>,
) -> Result<(), Diagnostic> {
    let place = Place::of(source);
    match place {
        Place::Repository(_) if !copy.is_add => return Err(step.error("source can't be a git ref for COPY")),
        Place::Url if !copy.is_add => return Err(step.error("source can't be a URL for COPY")),
        Place::Repository(_) | Place::Url | Place::Files => {}
    }
    if copy.checksum.is_some() && copy.sources.len() != 1 {
        return Err(step.error("checksum can't be specified for multiple sources"));
    }
    let is_local = matches!(place, Place::Files);
    if copy.checksum.is_some() && is_local {
        return Err(step.error("checksum requires HTTP(S) or Git sources"));
    }
    let fetching = copy.fetching(|text| step.expand(text))?;
    let remote = place.source(source, &fetching).map_err(|e| step.error(e))?;
    let (vertex, path, unpack) = match remote {
        Some(Source::Http(http)) => {
            let unpack = if copy.unpack == Some(true) { Unpack::IfArchive } else { Unpack::Never };
            let path = format!("/{}", http.filename);
            (step.add(Op::Source(Source::Http(http)), Vec::new(), op.name.clone(), false), path, unpack)
        }
        Some(remote) => {
            let vertex = step.add(Op::Source(remote), Vec::new(), op.name.clone(), false);
            (vertex, "/".to_owned(), Unpack::Never)
        }
        None => {
            if copy.from.is_none() {
                step.see(Seen::ContextPath(source.to_owned()));
            }
            let unpack = if copy.is_add && copy.unpack != Some(false) { Unpack::IfArchive } else { Unpack::Never };
            (step.files_of(copy.from.as_deref())?, paths::rooted(source), unpack)
        }
    };
    let parents_root = (copy.has_parents && is_local).then(|| match source.split_once("/./") {
        Some((root, _)) => paths::rooted(root),
        None => "/".to_owned(),
    });
    let input = op.input(vertex);
    op.actions.push(FileAction::Copy(CopyAction {
        input,
        has_wildcard: is_local && paths::has_wildcard(&path),
        source: path,
        dest: words.dest_path.clone(),
        unpack,
        owner: words.owner.clone(),
        mode: words.mode.clone(),
        excludes: copy.excludes.clone(),
        parents_root,
    }));
    Ok(())
}

/// The text of a step, with user names and passwords of URLs made unreadable.
fn without_logins(text: String) -> String {
    match text.contains("://") {
        true => text.split(' ').map(redacted).collect::<Vec<_>>().join(" "),
        false => text,
    }
}

/// Refuses names where nothing can know them: with `--link`, and first of all things in `FROM scratch`.
pub(super) fn check_owner(owner: &Owner, base: VertexId, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let name = [Some(&owner.user), owner.group.as_ref()].into_iter().flatten().find_map(|id| match id {
        OwnerId::Name(name) if !name.is_empty() => Some(name),
        OwnerId::Name(_) | OwnerId::Number(_) => None,
    });
    match name {
        Some(name) if base == step.build.scratch() => {
            let reason = format!("`{name}` cannot be looked up in an empty file system");
            Err(step.error(format!("invalid user index: -1: {reason}; use numbers")))
        }
        _ => Ok(()),
    }
}

/// Copies to an empty file system, and puts that over what is there.
fn link(op: OpBuilder, link_name: String, step: &mut Step<'_, '_>) {
    let below = step.stage.vertex;
    let scratch = step.build.scratch();
    let ignores_cache = step.stage.ignores_cache;
    let copied = step.add(Op::File(FileOp { actions: op.actions }), op.inputs, op.name, ignores_cache);
    step.stage.vertex =
        if below == scratch { copied } else { step.add(Op::Merge, vec![below, copied], link_name, false) };
}

/// `user[:group]` of `--chown`, or of `USER` for folders that are made. `root` is 0 whatever the accounts say.
pub(super) fn owner_of(text: &str) -> Owner {
    let id = |text: &str| match text {
        "root" => OwnerId::Number(0),
        text => text.parse().map_or_else(|_| OwnerId::Name(text.to_owned()), OwnerId::Number),
    };
    match text.split_once(':') {
        // Nothing behind the colon is root's group.
        Some((user, "")) => Owner { user: id(user), group: Some(OwnerId::Number(0)) },
        Some((user, group)) => Owner { user: id(user), group: Some(id(group)) },
        None => Owner { user: id(text), group: None },
    }
}

fn mode_of(text: &str) -> Result<Mode, String> {
    let complaint = || format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777");
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 && !text.starts_with('+') => Ok(Mode::Octal(mode)),
        Ok(_) => Err(complaint()),
        Err(_) if symbolic_mode::is_symbolic_mode(text) => Ok(Mode::Symbolic(text.to_owned())),
        Err(_) => Err(complaint()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::tests::{Case, errors, graph};

    #[test]
    fn several_sources_and_heredocs_are_one_step() {
        let text = "FROM scratch\nARG A=1\nWORKDIR /w\nCOPY $A *.go <<x <<'y' d/\n$A \\$A \"q\"\nx\n$A\ny\n";
        let case = Case::new(text);
        assert_eq!(
            case.graph(),
            "0 scratch\n1 file(0) [1/2] WORKDIR /w\n  mkdir /w 755\n2 local context\n\
             3 file(1,2) [2/2] COPY 1 *.go <<x <<y d/\n  copy 1:/1 /w/d/\n  copy 1:/*.go /w/d/ wildcard\n  \
             mkfile x /w/d/ \"1 $A \\\"q\\\"\\n\"\n  mkfile y /w/d/ \"$A\\n\"\n"
        );
        assert_eq!(case.history().last().unwrap(), "COPY 1 *.go <<x <<y d/ # buildkit");
    }

    #[test]
    fn history_shows_chown_and_chmod_and_no_other_flag() {
        let text = "FROM scratch AS x\nFROM scratch\nENV U=1\nCOPY a /\n\
                    COPY --from=x --exclude=z --chown=$U:g --chmod=0644 a /b\n";
        let case = Case::new(text);
        assert_eq!(case.history()[2], "COPY --chown=1:g --chmod=0644 a /b # buildkit");
        assert!(case.graph().contains("copy 1:/a /b owner=1:g octal 644 exclude=z\n"), "{}", case.graph());
    }

    #[test]
    fn logins_of_urls_are_in_no_name_and_no_history() {
        let text = "FROM scratch\nARG P=pw\nADD https://u:$P@h/f https://t@h/r.git /d/\n";
        let case = Case::new(text);
        let shown = "https://xxxxx:xxxxx@h/f https://xxxxx@h/r.git /d/";
        assert_eq!(case.history().last().unwrap(), &format!("ADD {shown} # buildkit"));
        assert!(case.graph().contains(&format!("[1/1] ADD {shown}\n")), "{}", case.graph());
    }

    #[test]
    fn names_need_a_file_system() {
        for text in ["FROM scratch\nCOPY --chown=ann a /", "FROM x\nCOPY --link --chown=1:grp a /"] {
            let told = errors(text).remove(0);
            assert!(told.starts_with("invalid user index: -1: `"), "{told}");
        }
    }

    #[test]
    fn a_linked_copy_is_merged() {
        let text = "FROM scratch\nCOPY --link a /\nCOPY --link b c/\nCOPY --link --chmod=1 d /\n";
        assert_eq!(
            graph(text),
            "0 scratch\n1 local context\n2 file(0,1) [1/3] COPY --link a /\n  copy 1:/a /\n\
             3 file(0,1) [2/3] COPY --link b c/\n  copy 1:/b /c/\n4 merge(2,3) [2/3] LINK COPY --link b c/\n\
             5 file(4,1) [3/3] COPY --link --chmod=1 d /\n  copy 1:/d / octal 1\n"
        );
    }

    #[test]
    fn sources_of_add_are_told_apart() {
        let text = "FROM scratch\nADD a.tar https://h/f.tgz?x https://h/ https://h/r.git#v1:sub github.com/a/b /d/\n";
        assert_eq!(
            graph(text),
            "0 scratch\n1 local context\n2 http https://h/f.tgz?x f.tgz\n3 http https://h/ __unnamed__\n\
             4 git https://h/r.git#v1:sub\n\
             5 file(0,1,2,3,4) [1/1] ADD a.tar https://h/f.tgz?x https://h/ https://h/r.git#v1:sub github.com/a/b /d/\n  \
             copy 1:/a.tar /d/ unpack\n  copy 2:/f.tgz /d/\n  copy 3:/__unnamed__ /d/\n  copy 4:/ /d/\n  \
             copy 1:/github.com/a/b /d/ unpack\n"
        );
    }

    #[test]
    fn the_step_name_shows_expanded_words() {
        let text = "FROM scratch\nENV A=1\nCOPY \"$A\" ${UNSET}z x\\\\y ${A:+/d}\n";
        assert!(graph(text).contains("[1/1] COPY 1 z x\\y /d\n"), "{}", graph(text));
    }

    #[test]
    fn parents_keep_the_part_after_the_pivot() {
        let text = "FROM scratch\nCOPY --parents a/b a/./b/c **/x.txt /o/\n";
        let graph = graph(text);
        assert!(graph.contains("copy 1:/a/b /o/ parents=/\n"), "{graph}");
        assert!(graph.contains("copy 1:/a/b/c /o/ parents=/a\n"), "{graph}");
        assert!(graph.contains("copy 1:/**/x.txt /o/ wildcard parents=/\n"), "{graph}");
    }

    #[test]
    fn mistakes_have_the_known_texts() {
        let mode = |text: &str| {
            format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
        };
        let from = "variable expansion is not supported for --from, \
                    define a new stage with FROM using ARG from global scope as a workaround";
        for (line, message) in [
            (
                "COPY a",
                "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
            ),
            ("COPY --from=$s a b", from),
            ("COPY --from=9 a b", "invalid stage index 9"),
            ("COPY --chmod=99999 a b", &mode("99999")),
            ("COPY --chmod=10000 a b", &mode("10000")),
            ("COPY https://h/x /", "source can't be a URL for COPY"),
            ("COPY git@h:x /", "source can't be a git ref for COPY"),
            ("ADD --checksum=sha256:1 a /", "checksum requires HTTP(S) or Git sources"),
            ("ADD --checksum=sha256:1 https://h/a https://h/b /", "checksum can't be specified for multiple sources"),
        ] {
            assert_eq!(errors(&format!("FROM scratch\n{line}\n")), [message], "{line}");
        }
        let dest = "COPY cannot accept a heredoc as a destination";
        assert_eq!(errors("FROM scratch\nCOPY x <<EOF\nEOF\n"), [dest]);
    }

    #[test]
    fn modes_are_octal_or_symbolic() {
        assert_eq!(mode_of("4755"), Ok(Mode::Octal(0o4755)));
        assert_eq!(mode_of("u=rwX,go=rX"), Ok(Mode::Symbolic("u=rwX,go=rX".into())));
        for bad in ["8", "-1", "x", "u=q", ""] {
            assert!(mode_of(bad).is_err(), "{bad}");
        }
    }
}
