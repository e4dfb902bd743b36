//! The tree that layers add to and take away from (image-spec, "Representing Changes").

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;
use super::limits::{MAX_DEPTH, MAX_PATH};
use super::tar_walk::{Item, ItemKind};

/// In front of the name of a file that a layer takes away.
const WHITEOUT: &str = ".wh.";
/// Takes away everything that layers below have in this directory.
const OPAQUE: &str = ".wh..wh..opq";
/// Links that are followed before a path is taken for a circle, as in Linux (MAXSYMLINKS).
const MAX_LINKS: usize = 40;
/// What is wrong with one layer that is told one by one.
const MAX_PROBLEMS: usize = 100;
/// Components that are looked at to follow links: for all entries together, and to find one file.
const MAX_STEPS: usize = 5_000_000;
const MAX_STEPS_TO_FIND: usize = 4096;

/// A file, directory or link of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub node: Node,
    /// Permissions.
    pub mode: u32,
    /// The layer that it comes from.
    pub layer: usize,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file: where its contents lie, and their number of bytes.
    File(FileRef, u64),
    /// A directory.
    Directory,
    /// A symbolic link, as it was written.
    Symlink(String),
    /// A device, FIFO or the like.
    Other,
}

/// Where a file's contents lie: the first of its names among the entries of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileRef {
    pub(super) layer: usize,
    pub(super) number: u64,
}

/// A path at which there is no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing is there.
    #[error("the image has no {0}")]
    Missing(String),
    /// Something else is there.
    #[error("{0} is no regular file")]
    NoFile(String),
    /// Links that lead to each other.
    #[error("the links at {0} lead in a circle")]
    Circle(String),
}

/// Paths `/a/b` and what is there.
#[derive(Debug)]
pub(super) struct Tree {
    entries: BTreeMap<String, Entry>,
    steps_left: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Tree { entries: BTreeMap::new(), steps_left: MAX_STEPS }
    }
}

impl Tree {
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Lays a layer over what is there. What it takes away is taken away first: whiteouts concern only the layers below.
    pub(super) fn add_layer(&mut self, layer: usize, items: Vec<Item>) -> Vec<Problem> {
        let mut problems = Problems::default();
        let mut whiteouts = BTreeSet::new();
        let mut rest = Vec::new();
        for item in items {
            match normal(&item.path) {
                Some(path) if path.is_empty() => {}
                Some(path) if path.matches('/').count() > MAX_DEPTH => {
                    problems.push(Problem::TooMuch(format!("a path has more than {MAX_DEPTH} components")));
                }
                Some(path) => match whiteout(&path) {
                    Some(gone) => drop(whiteouts.insert(gone)),
                    None => rest.push((path, item)),
                },
                None => problems.push(Problem::Outside(item.path)),
            }
        }
        for gone in whiteouts {
            self.take_away(&gone);
        }
        for (path, item) in rest {
            if let Err(problem) = self.put(layer, path, item) {
                problems.push(problem);
            }
        }
        problems.list
    }

    fn take_away(&mut self, gone: &Gone) {
        match gone {
            Gone::File(path) => {
                self.entries.remove(path);
                self.remove_below(path);
            }
            Gone::Contents(path) => self.remove_below(path),
        }
    }

    fn remove_below(&mut self, path: &str) {
        let prefix = format!("{path}/");
        let below = self.entries.range(prefix.clone()..).map(|(path, _)| path);
        let below: Vec<String> = below.take_while(|path| path.starts_with(&prefix)).cloned().collect();
        for path in below {
            self.entries.remove(&path);
        }
    }

    fn put(&mut self, layer: usize, path: String, item: Item) -> Result<(), Problem> {
        let path = self.through_links(path);
        let node = match item.kind {
            ItemKind::File(size) => Node::File(FileRef { layer, number: item.number }, size),
            ItemKind::Directory => Node::Directory,
            ItemKind::Symlink(target) => Node::Symlink(target),
            ItemKind::HardLink(target) => self.linked(&path, &target)?,
            ItemKind::Other => Node::Other,
        };
        // What takes the place of a directory takes away what was in it.
        if node != Node::Directory {
            self.remove_below(&path);
        }
        self.entries.insert(path, Entry { node, mode: item.mode, layer });
        Ok(())
    }

    /// What a hard link is another name of.
    fn linked(&mut self, path: &str, target: &str) -> Result<Node, Problem> {
        let normal = normal(target).ok_or_else(|| Problem::Outside(target.to_owned()))?;
        let real = self.through_links(normal);
        let found = self.entries.get(&real).map(|entry| entry.node.clone());
        found.ok_or_else(|| Problem::DanglingLink { path: path.to_owned(), target: target.to_owned() })
    }

    /// The path at which a file lies whose directory is reached through links: engines follow them, inside the image.
    fn through_links(&mut self, path: String) -> String {
        match path.rsplit_once('/') {
            Some((parent, name)) if !parent.is_empty() && self.has_links_to(parent) => {
                let mut steps = self.steps_left;
                let parent = self.resolve(parent, &mut steps);
                self.steps_left = steps;
                parent.map_or(path.clone(), |parent| format!("{parent}/{name}"))
            }
            _ => path,
        }
    }

    fn has_links_to(&self, parent: &str) -> bool {
        let ends = parent.match_indices('/').map(|(at, _)| at).skip(1).chain([parent.len()]);
        ends.map(|end| &parent[..end]).any(|prefix| {
            self.entries.get(prefix).is_some_and(|entry| matches!(entry.node, Node::Symlink(_)))
        })
    }

    /// Follows every link in a path. Names that are not there stay as they are. None where the links lead in a circle.
    fn resolve(&self, path: &str, steps: &mut usize) -> Option<String> {
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let (mut resolved, mut links) = (String::new(), 0);
        while let Some(name) = left.pop() {
            *steps = steps.checked_sub(1)?;
            match name.as_str() {
                "" | "." => continue,
                // The root is its own parent, as for a process whose root it is.
                ".." => resolved.truncate(resolved.rfind('/').unwrap_or(0)),
                name => {
                    let next = format!("{resolved}/{name}");
                    let Some(Entry { node: Node::Symlink(target), .. }) = self.entries.get(&next) else {
                        resolved = next;
                        continue;
                    };
                    links += 1;
                    if links > MAX_LINKS || resolved.len() > MAX_PATH {
                        return None;
                    }
                    if target.starts_with('/') {
                        resolved.clear();
                    }
                    left.extend(target.split('/').rev().map(str::to_owned));
                }
            }
        }
        Some(resolved)
    }

    pub(super) fn find(&self, path: &str) -> Result<FileRef, PathError> {
        let resolved = self
            .resolve(path, &mut MAX_STEPS_TO_FIND.clone())
            .ok_or_else(|| PathError::Circle(path.to_owned()))?;
        match self.entries.get(&resolved).map(|entry| &entry.node) {
            Some(Node::File(file, _)) => Ok(*file),
            Some(_) => Err(PathError::NoFile(path.to_owned())),
            None => Err(PathError::Missing(path.to_owned())),
        }
    }
}

/// The first ones: a layer has room for very many.
#[derive(Default)]
struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    fn push(&mut self, problem: Problem) {
        match self.list.len() {
            ..MAX_PROBLEMS => self.list.push(problem),
            MAX_PROBLEMS => {
                self.list
                    .push(Problem::TooMuch(format!("more than {MAX_PROBLEMS} of its entries are wrong")));
            }
            _ => {}
        }
    }
}

/// What a whiteout takes away.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Gone {
    File(String),
    Contents(String),
}

fn whiteout(path: &str) -> Option<Gone> {
    let (parent, name) = path.rsplit_once('/')?;
    if name == OPAQUE {
        return Some(Gone::Contents(parent.to_owned()));
    }
    name.strip_prefix(WHITEOUT).map(|name| Gone::File(format!("{parent}/{name}")))
}

/// `./etc//motd` as `/etc/motd`; nothing for the root; None for what leads upwards.
pub(super) fn normal(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len() + 1);
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => return None,
            name => {
                normal.push('/');
                normal.push_str(name);
            }
        }
    }
    Some(normal)
}
