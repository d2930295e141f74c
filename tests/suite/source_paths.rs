//! Reads Rust sources for the paths that they name: in `use` trees, in expressions and types, inside macro calls.

use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path in a source file: `crate::…` for our own, else as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
}

/// What one source file names.
#[derive(Debug, Default)]
pub(crate) struct SourcePaths {
    /// Every path of a `use`, and every path of two parts or more anywhere else.
    pub(crate) imports: Vec<Import>,
    /// Every macro that is called, by its last name, with its line.
    pub(crate) macros: Vec<(usize, String)>,
    /// The lines of `#[path = …]`.
    pub(crate) path_attributes: Vec<usize>,
}

impl SourcePaths {
    /// Reads the source of `file`, whose path is relative to `src`.
    pub(crate) fn read(file: &Path, source: &str) -> Self {
        let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut found = Self::default();
        found.walk(tokens, &module_of(file));
        found
    }

    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            at += match &rest[0] {
                TokenTree::Group(group) => {
                    if group.delimiter() == Delimiter::Bracket && is_path_attribute(group.stream()) {
                        self.path_attributes.push(group.span().start().line);
                    }
                    self.walk(group.stream(), module);
                    1
                }
                TokenTree::Ident(word) if word == "use" && !is_capture(rest) => {
                    let end = rest.iter().position(|token| is_punct(token, ';')).unwrap_or(rest.len());
                    self.use_tree(&rest[1..end], &mut Vec::new(), module);
                    end
                }
                TokenTree::Ident(word) if word == "extern" && is_ident(rest.get(1), "crate") => {
                    self.import(&rest[2], vec![rest[2].to_string()], module);
                    3
                }
                TokenTree::Ident(word) if word == "mod" => match (rest.get(1), rest.get(2)) {
                    (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) => {
                        self.walk(body.stream(), &[module, &[name.to_string()]].concat());
                        3
                    }
                    _ => 1,
                },
                TokenTree::Ident(_) => self.path(rest, module),
                _ => 1,
            };
        }
    }

    /// A path at the beginning of `tokens`; answers how many tokens it takes.
    fn path(&mut self, tokens: &[TokenTree], module: &[String]) -> usize {
        let mut segments = vec![tokens[0].to_string()];
        let mut taken = 1;
        while is_double_colon(&tokens[taken..]) {
            let Some(TokenTree::Ident(next)) = tokens.get(taken + 2) else { break };
            segments.push(next.to_string());
            taken += 3;
        }
        if tokens.get(taken).is_some_and(|token| is_punct(token, '!')) {
            self.macros.push((line_of(&tokens[0]), segments[segments.len() - 1].clone()));
        }
        if segments.len() > 1 {
            self.import(&tokens[0], segments, module);
        }
        taken
    }

    /// The tree of a `use`, below `prefix`.
    fn use_tree(&mut self, tokens: &[TokenTree], prefix: &mut Vec<String>, module: &[String]) {
        let tokens = if is_double_colon(tokens) { &tokens[2..] } else { tokens };
        match tokens.first() {
            Some(TokenTree::Ident(name)) => {
                prefix.push(name.to_string());
                if is_double_colon(&tokens[1..]) {
                    self.use_tree(&tokens[3..], prefix, module);
                } else {
                    let mut path = prefix.clone();
                    // `a::{self}` is `a`; `self` alone is this module.
                    if path.len() > 1 && name == "self" {
                        path.pop();
                    }
                    self.import(&tokens[0], path, module);
                }
                prefix.pop();
            }
            Some(TokenTree::Group(group)) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in inside.split(|token| is_punct(token, ',')) {
                    self.use_tree(branch, prefix, module);
                }
            }
            Some(star) => self.import(star, [prefix.as_slice(), &["*".to_owned()]].concat(), module),
            None => {}
        }
    }

    fn import(&mut self, at: &TokenTree, path: Vec<String>, module: &[String]) {
        self.imports.push(Import { line: line_of(at), path: resolved(path, module) });
    }
}

/// The path from the crate's root, where it is one of ours.
fn resolved(path: Vec<String>, module: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let from = match path[0].as_str() {
        "self" => Some((1, module.len())),
        "super" => Some((supers, module.len().saturating_sub(supers))),
        "crate" | "skm" => Some((1, 0)),
        _ => None,
    };
    match from {
        None => path,
        // `self::super::x` is legal too.
        Some((skip, depth)) if path.get(skip).is_some_and(|segment| segment == "super") => resolved(path[skip..].to_vec(), &module[..depth]),
        Some((skip, depth)) => [&["crate".to_owned()], &module[..depth], &path[skip..]].concat(),
    }
}

/// The module that a file is: `hsm/pool.rs` and `hsm/pool/mod.rs` are `hsm::pool`.
fn module_of(file: &Path) -> Vec<String> {
    let path = file.with_extension("");
    let mut module: Vec<String> = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] || module == ["main"] {
        module.pop();
    }
    module
}

/// `impl Trait + use<'a>`, whose `use` imports nothing.
fn is_capture(tokens: &[TokenTree]) -> bool {
    tokens.get(1).is_some_and(|token| is_punct(token, '<'))
}

fn is_path_attribute(tokens: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().take(2).collect();
    is_ident(tokens.first(), "path") && tokens.get(1).is_some_and(|token| is_punct(token, '='))
}

fn is_double_colon(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, ..] if is_punct(first, ':') && is_punct(second, ':'))
}

fn is_ident(token: Option<&TokenTree>, name: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == name)
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}
