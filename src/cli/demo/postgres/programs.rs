//! PostgreSQL's programs on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

/// Oldest release that Bellwether works with.
const OLDEST: u32 = 14;
const DEBIANS_FOLDER: &str = "/usr/lib/postgresql";

/// The programs of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::demo) struct Programs {
    /// `None`: the folders of `PATH`.
    folder: Option<PathBuf>,
    pub(in crate::cli::demo) release: u32,
}

impl Programs {
    /// Finds those in `folder` when it is named, else the newest of Debian's, else those on `PATH`.
    pub(in crate::cli::demo) fn find(folder: Option<&Path>) -> anyhow::Result<Self> {
        let found = match folder {
            Some(folder) => Self::in_folder(Some(folder)),
            None => Self::newest_in(Path::new(DEBIANS_FOLDER)).or_else(|| Self::in_folder(None)),
        };
        match found {
            Some(programs) if programs.release >= OLDEST => Ok(programs),
            Some(programs) => bail!(
                "PostgreSQL {} is too old: {OLDEST} or later is needed (--postgres-bin says where to look)",
                programs.release
            ),
            None => bail!(
                "no PostgreSQL server was found, neither under {DEBIANS_FOLDER} nor on PATH: on Debian and Ubuntu \
                 `apt-get install postgresql` brings one, elsewhere --postgres-bin says where its programs are"
            ),
        }
    }

    fn newest_in(place: &Path) -> Option<Self> {
        fs::read_dir(place)
            .ok()?
            .filter_map(|entry| {
                let folder = entry.ok()?.path();
                let release = folder.file_name()?.to_str()?.parse().ok()?;
                let folder = folder.join("bin");
                let whole = ["initdb", "postgres"]
                    .iter()
                    .all(|name| folder.join(name).is_file());
                whole.then_some(Self {
                    folder: Some(folder),
                    release,
                })
            })
            .max_by_key(|programs| programs.release)
    }

    fn in_folder(folder: Option<&Path>) -> Option<Self> {
        let mut programs = Self {
            folder: folder.map(Path::to_owned),
            release: 0,
        };
        let output = Command::new(programs.path("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        // `postgres (PostgreSQL) 16.2 (Debian …)`
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split(' ').nth(2)?;
        programs.release = version
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()?;
        Some(programs)
    }

    /// The path of one program.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder
            .as_deref()
            .map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_newest_whole_release_is_taken() -> std::io::Result<()> {
        let place = tempfile::tempdir()?;
        for (release, names) in [
            ("9.6", &["initdb", "postgres"][..]),
            ("14", &["initdb", "postgres"]),
            ("15", &["initdb", "postgres"]),
            // The client programs alone.
            ("17", &["psql"]),
            ("notes", &[]),
        ] {
            let bin = place.path().join(release).join("bin");
            fs::create_dir_all(&bin)?;
            for name in names {
                File::create(bin.join(name))?;
            }
        }
        let found = Programs::newest_in(place.path()).expect("two releases");
        assert_eq!(found.release, 15);
        assert_eq!(Programs::newest_in(&place.path().join("nowhere")), None);
        Ok(())
    }
}
