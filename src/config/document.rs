//! Reading sections out of a TOML text, remembering where each value came from and everything that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::setting::Setting;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A configuration file, and the line if it is about one; lines count from 1.
    File(PathBuf, Option<usize>),
    /// An environment variable.
    Variable(String),
}

impl Place {
    /// The file as a whole.
    pub fn file(path: &Path) -> Self {
        Self::File(path.to_owned(), None)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong with the configuration: `skm.toml:12: [api] listen: must be …`. It never repeats a value, which
/// might be a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    place: Place,
    message: String,
}

impl Problem {
    /// A problem at `place`.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The environment's overrides: variables named `SKM_<SECTION>__<KEY>`. The client's own (`SKM_URL`, `SKM_CA` …) have no
/// double underscore and are not among them.
#[derive(Debug, Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Those of this process. A value that is not UTF-8 is kept with its broken parts replaced, and so refused where it matters.
    pub fn from_environment() -> Self {
        std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())).collect()
    }

    fn name_of(section: &str, key: &str) -> String {
        format!("SKM_{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let is_override = |name: &str| name.strip_prefix("SKM_").is_some_and(|rest| rest.contains("__"));
        Self(variables.into_iter().filter(|(name, _)| is_override(name)).collect())
    }
}

/// A section: a type whose fields are the keys. Declared with [`section!`].
pub(super) trait Section: Default {
    /// Its name in brackets.
    const NAME: &'static str;
    /// Its keys.
    const KEYS: &'static [&'static str];
    /// Reads every key from `reader`.
    fn read(reader: &mut Reader<'_, '_>) -> Self;
}

/// Declares a section: the type, its defaults, and how each key is read. `key: Type = default, check;` where the check is
/// optional: `Fn(&Type) -> Result<(), String>`, its error says what is allowed.
macro_rules! section {
    (
        $(#[$meta:meta])*
        $vis:vis $name:ident is $section:literal {
            $( $(#[$key_meta:meta])* $key:ident : $kind:ty = $default:expr $(, $check:expr)? ; )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $name {
            $( $(#[$key_meta])* pub $key: $kind, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )+ }
            }
        }

        impl $crate::config::document::Section for $name {
            const NAME: &'static str = $section;
            const KEYS: &'static [&'static str] = &[$( stringify!($key) ),+];

            fn read(reader: &mut $crate::config::document::Reader<'_, '_>) -> Self {
                let default = Self::default();
                Self { $( $key: reader.setting(stringify!($key), default.$key, &[$( &$check )?]), )+ }
            }
        }
    };
}
pub(super) use section;

/// A configuration text that is being read.
pub(super) struct Document<'a> {
    path: &'a Path,
    text: &'a str,
    table: Spanned<DeTable<'a>>,
    variables: &'a Variables,
    known: Vec<(&'static str, &'static [&'static str])>,
    places: BTreeMap<(&'static str, &'static str), Place>,
    problems: BTreeSet<Problem>,
}

impl<'a> Document<'a> {
    pub(super) fn parse(path: &'a Path, text: &'a str, variables: &'a Variables) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut document = Self { path, text, table, variables, known: Vec::new(), places: BTreeMap::new(), problems: BTreeSet::new() };
        for error in errors {
            let place = document.place(error.span());
            // Only the message: the error's Display would show the line, and with it perhaps a secret.
            document.problems.insert(Problem::new(place, format!("not TOML: {}", error.message())));
        }
        document
    }

    /// Reads section `S`; what is missing or wrong is at its default.
    pub(super) fn section<S: Section>(&mut self) -> S {
        self.known.push((S::NAME, S::KEYS));
        let mut problems = Vec::new();
        let table = match self.table.get_ref().get(S::NAME) {
            None => None,
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => {
                    problems.push(Problem::new(self.place(Some(value.span())), format!("{} must be a section: [{0}]", S::NAME)));
                    None
                }
            },
        };
        for (key, _) in table.into_iter().flatten() {
            if !S::KEYS.contains(&key.get_ref().as_ref()) {
                let message = format!("[{}] {}: unknown key; allowed: {}", S::NAME, key.get_ref(), S::KEYS.join(", "));
                problems.push(Problem::new(self.place(Some(key.span())), message));
            }
        }
        let mut reader = Reader { document: self, name: S::NAME, table, problems, places: Vec::new() };
        let section = S::read(&mut reader);
        let Reader { problems, places, .. } = reader;
        self.problems.extend(problems);
        self.places.extend(places.into_iter().map(|(key, place)| ((S::NAME, key), place)));
        section
    }

    /// Refuses every section and override that no call of [`Document::section`] asked for.
    pub(super) fn refuse_unknown_sections(&mut self) {
        let names: Vec<&str> = self.known.iter().map(|(name, _)| *name).collect();
        let mut problems = Vec::new();
        for (key, _) in self.table.get_ref() {
            if !names.contains(&key.get_ref().as_ref()) {
                let message = format!("[{}]: unknown section; allowed: {}", key.get_ref(), names.join(", "));
                problems.push(Problem::new(self.place(Some(key.span())), message));
            }
        }
        let allowed: BTreeSet<String> = self.known.iter().flat_map(|(name, keys)| keys.iter().map(|key| Variables::name_of(name, key))).collect();
        for name in self.variables.0.keys().filter(|name| !allowed.contains(*name)) {
            let section = self.known.iter().find(|(section, _)| name.starts_with(&Variables::name_of(section, "")));
            let choices = match section {
                Some((section, keys)) => keys.iter().map(|key| Variables::name_of(section, key)).collect::<Vec<_>>().join(", "),
                None => format!("SKM_<SECTION>__<KEY> with a section of {}", names.join(", ")),
            };
            problems.push(Problem::new(Place::Variable(name.clone()), format!("unknown variable; allowed: {choices}")));
        }
        self.problems.extend(problems);
    }

    /// Refuses the value of a key that was read, for a reason that lies outside of it.
    pub(super) fn refuse(&mut self, section: &'static str, key: &'static str, message: &str) {
        let place = self.places.get(&(section, key)).cloned().unwrap_or_else(|| Place::file(self.path));
        self.problems.insert(Problem::new(place, format!("[{section}] {key}: {message}")));
    }

    /// Everything that was wrong, files and lines first, then variables.
    pub(super) fn finish(self) -> Result<(), Vec<Problem>> {
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems.into_iter().collect()) }
    }

    fn place(&self, span: Option<Range<usize>>) -> Place {
        let line = span.map(|span| self.text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1);
        Place::File(self.path.to_owned(), line)
    }
}

/// Reads the keys of one section.
pub(super) struct Reader<'d, 'a> {
    document: &'d Document<'a>,
    name: &'static str,
    table: Option<&'d DeTable<'a>>,
    problems: Vec<Problem>,
    places: Vec<(&'static str, Place)>,
}

/// A rule beyond the type's own; the error says what is allowed.
pub(super) type Check<'c, T> = &'c dyn Fn(&T) -> Result<(), String>;

impl Reader<'_, '_> {
    /// The value of `key`: from its variable, else from the file, else `default`, which also stands in for a wrong one.
    pub(super) fn setting<T: Setting>(&mut self, key: &'static str, default: T, checks: &[Check<'_, T>]) -> T {
        let checked = |value: T| checks.iter().try_for_each(|check| check(&value)).map(|()| value);
        let document = self.document;
        let in_file = self.table.and_then(|table| table.get(key)).and_then(|value| {
            let place = document.place(Some(value.span()));
            self.take(key, place, T::from_toml(value.get_ref()).and_then(checked))
        });
        let variable = Variables::name_of(self.name, key);
        let in_environment =
            document.variables.0.get(&variable).and_then(|text| self.take(key, Place::Variable(variable), T::from_variable(text).and_then(checked)));
        in_environment.or(in_file).unwrap_or(default)
    }

    fn take<T>(&mut self, key: &'static str, place: Place, value: Result<T, String>) -> Option<T> {
        self.places.push((key, place.clone()));
        value.map_err(|message| self.problems.push(Problem::new(place, format!("[{}] {key}: {message}", self.name)))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    section! {
        /// A section to test with.
        Sample is "sample" {
            /// A number.
            number: u32 = 7, crate::config::setting::within(1..=9);
            /// A text.
            text: String = "x".to_owned();
        }
    }

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Sample, Vec<String>> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut document = Document::parse(Path::new("skm.toml"), text, &variables);
        let sample = document.section::<Sample>();
        document.refuse_unknown_sections();
        document.finish().map(|()| sample).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_environment_beats_the_file_beats_the_default() {
        assert_eq!(read("", &[]).unwrap().number, 7);
        assert_eq!(read("[sample]\nnumber = 3", &[]).unwrap().number, 3);
        assert_eq!(read("[sample]\nnumber = 3", &[("SKM_SAMPLE__NUMBER", "4")]).unwrap().number, 4);
    }

    #[test]
    fn everything_wrong_is_named_with_its_place() {
        let problems = read(
            "[sample]\nnumber = 10\nnubmer = 1\ntext = 5\n\n[simple]\nx = 1\n",
            &[("SKM_SAMPLE__NUMBER", "many"), ("SKM_SAMPLE__TXT", "x"), ("SKM_URL", "not ours"), ("SKM_OTHER__X", "1")],
        );
        assert_eq!(
            problems.unwrap_err(),
            [
                "skm.toml:2: [sample] number: must be from 1 to 9",
                "skm.toml:3: [sample] nubmer: unknown key; allowed: number, text",
                "skm.toml:4: [sample] text: must be a text in quotes, not empty, without control characters",
                "skm.toml:6: [simple]: unknown section; allowed: sample",
                "SKM_OTHER__X: unknown variable; allowed: SKM_<SECTION>__<KEY> with a section of sample",
                "SKM_SAMPLE__NUMBER: [sample] number: must be a whole number",
                "SKM_SAMPLE__TXT: unknown variable; allowed: SKM_SAMPLE__NUMBER, SKM_SAMPLE__TEXT",
            ]
        );
    }

    #[test]
    fn what_is_not_toml_is_named_by_line_without_its_text() {
        let problems = read("[sample]\nnumber = 3\ntext = hunter2\nnumber = 4\n", &[]).unwrap_err();
        assert!(problems.iter().any(|problem| problem.starts_with("skm.toml:3: not TOML: ")), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.starts_with("skm.toml:4: not TOML: duplicate key")), "{problems:?}");
        assert!(!problems.iter().any(|problem| problem.contains("hunter2")), "{problems:?}");
    }

    #[test]
    fn a_section_must_be_one() {
        assert_eq!(read("sample = 1", &[]).unwrap_err(), ["skm.toml:1: sample must be a section: [sample]"]);
    }
}
