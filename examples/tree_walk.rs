//! A recursive generator: ordinary calls pass the yielder down, so a yield costs the same at every depth.
//!
//! cargo run --example tree_walk

use cede::{Generator, Yielder};

enum Tree {
    Leaf,
    Node(Box<Tree>, &'static str, Box<Tree>),
}

use Tree::{Leaf, Node};

impl Tree {
    fn insert(self, word: &'static str) -> Tree {
        match self {
            Leaf => Node(Box::new(Leaf), word, Box::new(Leaf)),
            Node(left, here, right) if word < here => Node(Box::new(left.insert(word)), here, right),
            Node(left, here, right) => Node(left, here, Box::new(right.insert(word))),
        }
    }

    fn walk(&self, y: &Yielder<(usize, &'static str)>, depth: usize) {
        if let Node(left, word, right) = self {
            left.walk(y, depth + 1);
            y.yield_((depth, word));
            right.walk(y, depth + 1);
        }
    }
}

fn main() {
    let tree = ["yield", "send", "throw", "close", "resume", "suspend"].into_iter().fold(Leaf, Tree::insert);
    for (depth, word) in Generator::new(move |y| tree.walk(y, 0)) {
        println!("{}{word}", "  ".repeat(depth));
    }
}
