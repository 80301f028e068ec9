//! Makes a [`Template`] of tokens.

use super::TemplateError;
use super::functions::is_function;
use super::lexer::{Spotted, Token, tokens};
use super::syntax::{Branch, Node, Operand, Pipeline, Template};
use super::value::Value;

/// Blocks and parentheses in one another.
const DEPTH_MAX: usize = 100;

type Parsed<T> = Result<T, TemplateError>;

pub(super) struct Parser {
    tokens: Vec<Spotted>,
    at: usize,
    depth: usize,
    /// Variables in scope.
    variables: Vec<String>,
    template: Template,
}

/// What ended a block.
enum Closed {
    NoMoreText,
    End,
    Else,
}

impl Parser {
    pub(super) fn new(text: &str) -> Parsed<Self> {
        let known = ["", "labels", "externalLabels", "externalURL", "value"];
        Ok(Self {
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
            variables: known.map(str::to_owned).to_vec(),
            template: Template::default(),
        })
    }

    pub(super) fn parse(mut self) -> Parsed<Template> {
        let (body, end) = self.block()?;
        match end {
            Closed::NoMoreText => Ok(Template { body, ..self.template }),
            Closed::End => Err(self.error("unexpected {{end}}")),
            Closed::Else => Err(self.error("unexpected {{else}}")),
        }
    }

    fn block(&mut self) -> Parsed<(Vec<Node>, Closed)> {
        let mut nodes = Vec::new();
        loop {
            match self.next() {
                None => return Ok((nodes, Closed::NoMoreText)),
                Some(Token::Text(text)) => nodes.push(Node::Text(text)),
                Some(Token::Open) => {
                    if let Some(end) = self.action(&mut nodes)? {
                        return Ok((nodes, end));
                    }
                }
                Some(_) => return Err(self.error("text expected")),
            }
        }
    }

    /// What stands between `{{` and `}}`; says so if it ends the block.
    fn action(&mut self, nodes: &mut Vec<Node>) -> Parsed<Option<Closed>> {
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "end" => return self.ending(Closed::End).map(Some),
            "else" => {
                self.at += 1;
                return Ok(Some(Closed::Else)); // The caller sees whether `if` follows.
            }
            "if" => nodes.push(self.branch(Branch::If)?),
            "with" => nodes.push(self.branch(Branch::With)?),
            "range" => nodes.push(self.branch(Branch::Range)?),
            "break" => nodes.push(self.alone(Node::Break)?),
            "continue" => nodes.push(self.alone(Node::Continue)?),
            "template" => nodes.push(self.call()?),
            "define" => self.define()?,
            "block" => nodes.push(self.defined_and_called()?),
            _ => {
                let pipeline = self.pipeline()?;
                self.expect(&Token::Close, "}}")?;
                nodes.push(Node::Output(pipeline));
            }
        }
        Ok(None)
    }

    fn ending(&mut self, end: Closed) -> Parsed<Closed> {
        self.at += 1;
        self.expect(&Token::Close, "}}")?;
        Ok(end)
    }

    fn alone(&mut self, node: Node) -> Parsed<Node> {
        self.at += 1;
        self.expect(&Token::Close, "}}")?;
        Ok(node)
    }

    fn branch(&mut self, kind: Branch) -> Parsed<Node> {
        self.at += 1;
        self.enter()?;
        let scope = self.variables.len();
        let on = self.pipeline()?;
        self.expect(&Token::Close, "}}")?;
        let (then, end) = self.block()?;
        let otherwise = match end {
            Closed::End => Vec::new(),
            Closed::Else => self.otherwise()?,
            Closed::NoMoreText => return Err(self.error("a block is not closed by {{end}}")),
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Node::Branch { kind, on, then, otherwise })
    }

    /// After `{{ else`: another condition, or the block to its end.
    fn otherwise(&mut self) -> Parsed<Vec<Node>> {
        if let Some(Token::Word(word)) = self.peek() {
            let kind = match word.as_str() {
                "if" => Branch::If,
                "with" => Branch::With,
                _ => return Err(self.error("only if and with may follow else")),
            };
            return Ok(vec![self.branch(kind)?]);
        }
        self.expect(&Token::Close, "}}")?;
        match self.block()? {
            (nodes, Closed::End) => Ok(nodes),
            (_, Closed::Else) => Err(self.error("a second {{else}}")),
            (_, Closed::NoMoreText) => Err(self.error("a block is not closed by {{end}}")),
        }
    }

    fn call(&mut self) -> Parsed<Node> {
        self.at += 1;
        let name = self.name()?;
        let with = if self.peek() == Some(&Token::Close) { None } else { Some(self.pipeline()?) };
        self.expect(&Token::Close, "}}")?;
        Ok(Node::Call { name, with })
    }

    fn define(&mut self) -> Parsed<()> {
        self.at += 1;
        if self.depth > 0 {
            return Err(self.error("a template is defined at the top, not in a block"));
        }
        let name = self.name()?;
        self.expect(&Token::Close, "}}")?;
        self.definition(name)
    }

    /// `{{ block "name" . }}`: a definition, and a call of it where it stands.
    fn defined_and_called(&mut self) -> Parsed<Node> {
        self.at += 1;
        let name = self.name()?;
        let with = Some(self.pipeline()?);
        self.expect(&Token::Close, "}}")?;
        self.definition(name.clone())?;
        Ok(Node::Call { name, with })
    }

    fn definition(&mut self, name: String) -> Parsed<()> {
        self.enter()?;
        // Nothing of what is set around it is known inside.
        let outer = std::mem::replace(&mut self.variables, vec![String::new()]);
        let (nodes, end) = self.block()?;
        self.variables = outer;
        self.depth -= 1;
        if !matches!(end, Closed::End) {
            return Err(self.error("a definition is not closed by {{end}}"));
        }
        self.template.definitions.insert(name, nodes);
        Ok(())
    }

    fn name(&mut self) -> Parsed<String> {
        match self.next() {
            Some(Token::Quoted(name)) => Ok(name),
            _ => Err(self.error("the quoted name of a template expected")),
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        self.enter()?;
        let (variables, is_assignment) = self.variables_set()?;
        let mut commands = vec![self.command()?];
        while self.peek() == Some(&Token::Pipe) {
            self.at += 1;
            commands.push(self.command()?);
        }
        if !is_assignment {
            // In scope only now: `$x := $x` means an outer one.
            self.variables.extend(variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipeline { variables, is_assignment, commands })
    }

    /// `$x :=`, `$x =` or `$i, $x :=`, if the pipeline begins so.
    fn variables_set(&mut self) -> Parsed<(Vec<String>, bool)> {
        let begin = self.at;
        let mut variables = Vec::new();
        while let Some(Token::Variable(name)) = self.peek() {
            variables.push(name.clone());
            self.at += 1;
            match self.peek() {
                Some(Token::Comma) => self.at += 1,
                Some(Token::Declare) => {
                    self.at += 1;
                    return Ok((variables, false));
                }
                Some(Token::Assign) => {
                    self.at += 1;
                    if let Some(unknown) = variables.iter().find(|name| !self.variables.contains(name)) {
                        return Err(self.error(format!("undefined variable \"${unknown}\"")));
                    }
                    return Ok((variables, true));
                }
                _ => break,
            }
        }
        self.at = begin;
        Ok((Vec::new(), false))
    }

    fn command(&mut self) -> Parsed<Vec<Operand>> {
        let mut operands = Vec::new();
        while !matches!(self.peek(), None | Some(Token::Pipe | Token::Close | Token::RightParen)) {
            operands.push(self.operand()?);
        }
        if operands.is_empty() {
            return Err(self.error("missing value for command"));
        }
        Ok(operands)
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let operand = match self.next() {
            Some(Token::Dot) => Operand::Dot,
            Some(Token::Field { name, .. }) => Operand::Fields(Box::new(Operand::Dot), vec![name]),
            Some(Token::Quoted(text)) => Operand::Literal(Value::Text(text)),
            Some(Token::Integer(number)) => Operand::Literal(Value::Integer(number)),
            Some(Token::Float(number)) => Operand::Literal(Value::Float(number)),
            Some(Token::Variable(name)) if self.variables.contains(&name) => Operand::Variable(name),
            Some(Token::Variable(name)) => {
                return Err(self.error(format!("undefined variable \"${name}\"")));
            }
            Some(Token::LeftParen) => {
                let inner = self.pipeline()?;
                self.expect(&Token::RightParen, "a closing parenthesis")?;
                Operand::Group(Box::new(inner))
            }
            Some(Token::Word(word)) => self.word(word)?,
            _ => return Err(self.error("unexpected token in an action")),
        };
        Ok(self.fields_of(operand))
    }

    fn word(&self, word: String) -> Parsed<Operand> {
        match word.as_str() {
            "true" => Ok(Operand::Literal(Value::Bool(true))),
            "false" => Ok(Operand::Literal(Value::Bool(false))),
            "nil" => Ok(Operand::Literal(Value::Nothing)),
            word if is_function(word) => Ok(Operand::Function(word.to_owned())),
            word => Err(self.error(format!("function {word:?} not defined"))),
        }
    }

    fn fields_of(&mut self, operand: Operand) -> Operand {
        let mut fields = Vec::new();
        while let Some(Token::Field { name, is_apart: false }) = self.peek() {
            fields.push(name.clone());
            self.at += 1;
        }
        match operand {
            operand if fields.is_empty() => operand,
            Operand::Fields(of, mut first) => {
                first.append(&mut fields);
                Operand::Fields(of, first)
            }
            operand => Operand::Fields(Box::new(operand), fields),
        }
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("more than {DEPTH_MAX} blocks or parentheses in one another")));
        }
        Ok(())
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|spotted| &spotted.token)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    fn expect(&mut self, token: &Token, named: &str) -> Parsed<()> {
        if self.peek() != Some(token) {
            return Err(self.error(format!("{named} expected")));
        }
        self.at += 1;
        Ok(())
    }

    fn error(&self, message: impl Into<String>) -> TemplateError {
        let place = self.tokens.get(self.at.min(self.tokens.len().saturating_sub(1)));
        TemplateError::Syntax { line: place.map_or(1, |spotted| spotted.line), message: message.into() }
    }
}
