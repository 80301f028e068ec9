//! What a template is made of.

use std::collections::HashMap;

use super::value::Value;

/// A parsed text.
#[derive(Debug, Default)]
pub(super) struct Template {
    /// What is expanded.
    pub body: Vec<Node>,
    /// `{{ define "name" }}`.
    pub definitions: HashMap<String, Vec<Node>>,
}

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// Copied as it stands.
    Text(String),
    /// Replaced by what it yields; by nothing if it sets a variable.
    Output(Pipeline),
    /// `if`, `with` or `range`.
    Branch { kind: Branch, on: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    /// Replaced by another template.
    Call { name: String, with: Option<Pipeline> },
    /// Ends the innermost `range`.
    Break,
    /// Goes on with its next element.
    Continue,
}

/// What a branch depends on its value for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    If,
    With,
    Range,
}

/// Commands, each given what the one before yields.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// Variables that take the value, without `$`.
    pub variables: Vec<String>,
    /// Whether they exist already (`=`, not `:=`).
    pub is_assignment: bool,
    pub commands: Vec<Vec<Operand>>,
}

/// What a command is made of.
#[derive(Debug)]
pub(super) enum Operand {
    Dot,
    Literal(Value),
    Variable(String),
    Function(String),
    Group(Box<Pipeline>),
    /// `.Labels.job` of something.
    Fields(Box<Operand>, Vec<String>),
}
