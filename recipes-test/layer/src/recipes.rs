//! Recipes as text: bitbake is not always at hand, and some questions need none.

use std::path::Path;

use anyhow::Result;
use micrun_testkit::Workspace;

use crate::tracked::{text, tracked};

/// The layers that are ours.
pub const LAYERS: [&str; 3] = ["meta-micrun/", "recipes-test/", "kas/examples/product/meta-gateway/"];

/// A recipe, or a part of one.
pub struct Recipe {
    /// Relative to the workspace.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// All recipes, appends and includes of our layers.
pub fn recipes(workspace: &Workspace) -> Result<Vec<Recipe>> {
    let is_recipe = |path: &String| {
        let is_ours = LAYERS.iter().any(|layer| path.starts_with(layer)) && path.contains("/recipes-");
        is_ours && [".bb", ".bbappend", ".inc"].iter().any(|kind| path.ends_with(kind))
    };
    let read = |path: String| Ok(Recipe { text: text(workspace, &path)?, path });
    tracked(workspace)?.into_iter().filter(is_recipe).map(read).collect()
}

impl Recipe {
    /// Where it is.
    pub fn folder(&self) -> &Path {
        Path::new(&self.path).parent().unwrap_or(Path::new(""))
    }

    /// Its lines but the comments.
    pub fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| !line.trim_start().starts_with('#'))
    }

    /// Its name and version, out of its file's name; a version may be absent.
    pub fn name(&self) -> (&str, Option<&str>) {
        let stem = Path::new(&self.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        match stem.split_once('_') {
            Some((name, version)) => (name, Some(version)),
            None => (stem, None),
        }
    }

    /// Puts in what follows from its file's name.
    pub fn expand(&self, value: &str) -> String {
        let (name, version) = self.name();
        let value = value.replace("${BPN}", name).replace("${PN}", name);
        match version.filter(|version| !version.contains('%')) {
            Some(version) => value.replace("${PV}", version).replace("${BP}", &format!("{name}-{version}")),
            None => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_says_name_and_version() {
        let recipe = |path: &str| Recipe { path: path.to_owned(), text: String::new() };
        let versioned = recipe("meta-micrun/recipes-mcs/mcs/mcs_1.2.bb");
        assert_eq!(versioned.name(), ("mcs", Some("1.2")));
        assert_eq!(versioned.expand("${BPN}-${PV}.conf"), "mcs-1.2.conf");
        assert_eq!(recipe("meta-micrun/recipes-x/x/x_%.bbappend").expand("${BP}"), "${BP}");
        assert_eq!(recipe("meta-micrun/recipes-core/images/micrun-image.bb").name(), ("micrun-image", None));
    }
}
