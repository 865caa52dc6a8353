//! Generators: same fringe, k-way merge, permutations, generators in traits and structs.
//!
//! # Same fringe
//!
//! *When:* two recursive structures are compared, or walked in step. Each walk is a plain recursive function; its generator makes an
//! iterator of it.
//!
//! ```
//! use cede::{Generator, Yielder};
//! use std::rc::Rc;
//!
//! enum Tree {
//!     Leaf(u32),
//!     Fork(Box<Tree>, Box<Tree>),
//! }
//! use Tree::{Fork, Leaf};
//!
//! fn walk(tree: &Tree, y: &Yielder<u32>) {
//!     match tree {
//!         Leaf(n) => y.yield_(*n),
//!         Fork(left, right) => {
//!             walk(left, y);
//!             walk(right, y);
//!         }
//!     }
//! }
//!
//! fn leaves(tree: &Rc<Tree>) -> Generator<u32> {
//!     let tree = Rc::clone(tree); // a body owns what it needs
//!     Generator::new(move |y| walk(&tree, y))
//! }
//!
//! fn fork(left: Tree, right: Tree) -> Tree {
//!     Fork(Box::new(left), Box::new(right))
//! }
//!
//! let a = Rc::new(fork(fork(Leaf(1), Leaf(2)), Leaf(3)));
//! let b = Rc::new(fork(Leaf(1), fork(Leaf(2), Leaf(3))));
//! let c = Rc::new(fork(Leaf(1), fork(Leaf(4), Leaf(3))));
//! assert!(leaves(&a).eq(leaves(&b)));
//! // The comparison ends at the first difference. No walk goes further.
//! let (mut left, mut right) = (leaves(&a), leaves(&c));
//! assert_eq!(left.by_ref().zip(right.by_ref()).find(|(x, y)| x != y), Some((2, 4)));
//! assert_eq!((left.collect::<Vec<_>>(), right.collect::<Vec<_>>()), (vec![3], vec![3]));
//! ```
//!
//! *Watch for:* the depth of the recursion. A stack has 64 KiB; for deep trees set [`Builder::stack_size`](crate::Builder::stack_size).
//!
//! # K-way merge
//!
//! *When:* several sorted sources become one sorted source, and none of them fits into memory, or none of them ends.
//!
//! ```
//! use cede::Generator;
//! use std::cmp::Reverse;
//! use std::collections::BinaryHeap;
//!
//! fn merge<T: Ord + 'static>(mut sources: Vec<Generator<T>>) -> Generator<T> {
//!     Generator::new(move |y| {
//!         let first = sources.iter_mut().enumerate().filter_map(|(place, source)| Some(Reverse((source.next()?, place))));
//!         let mut heap: BinaryHeap<_> = first.collect();
//!         while let Some(Reverse((item, place))) = heap.pop() {
//!             y.yield_(item);
//!             heap.extend(sources[place].next().map(|item| Reverse((item, place))));
//!         }
//!     })
//! }
//!
//! fn multiples(n: u32) -> Generator<u32> {
//!     Generator::new(move |y| (1..).for_each(|factor| y.yield_(n * factor)))
//! }
//!
//! let merged = merge(vec![multiples(2), multiples(5), multiples(7)]);
//! assert_eq!(merged.take(9).collect::<Vec<_>>(), [2, 4, 5, 6, 7, 8, 10, 10, 12]);
//! ```
//!
//! *Watch for:* the order of the yield and the next read. This body reads a source only when the consumer wants another item, so an
//! unused item is never computed.
//!
//! # Permutations
//!
//! *When:* a recursive search has many results, and the caller decides how many of them it wants.
//!
//! ```
//! use cede::{Generator, Yielder};
//!
//! fn permute<T: Clone>(items: &mut [T], fixed: usize, y: &Yielder<Vec<T>>) {
//!     if fixed == items.len() {
//!         y.yield_(items.to_vec());
//!     }
//!     for chosen in fixed..items.len() {
//!         items.swap(fixed, chosen);
//!         permute(items, fixed + 1, y);
//!         items.swap(fixed, chosen);
//!     }
//! }
//!
//! fn permutations<T: Clone + 'static>(items: impl IntoIterator<Item = T>) -> Generator<Vec<T>> {
//!     let mut items: Vec<T> = items.into_iter().collect();
//!     Generator::new(move |y| permute(&mut items, 0, y))
//! }
//!
//! let words: Vec<String> = permutations("abc".chars()).map(String::from_iter).collect();
//! assert_eq!(words, ["abc", "acb", "bac", "bca", "cba", "cab"]);
//!
//! // The first of 2,432,902,008,176,640,000.
//! assert_eq!(permutations(0..20).next(), Some((0..20).collect()));
//! // Six queens: one in each column, in the row that the permutation says, and none on the diagonal of another.
//! let is_safe = |rows: &Vec<usize>| {
//!     (0..rows.len()).all(|i| (0..i).all(|j| rows[i].abs_diff(rows[j]) != i - j))
//! };
//! assert_eq!(permutations(0..6).filter(is_safe).count(), 4);
//! ```
//!
//! *Watch for:* a search that stops early drops the generator, which unwinds the body. Destructors of the body run then. To return a
//! value from the body instead, use [`try_yield`](crate::Yielder::try_yield).
//!
//! # Generators in traits and structs
//!
//! *When:* a type needs an iterator whose code is a function with a state of its own. [`Generator`](crate::Generator) is one type,
//! whatever its body is, so it needs no `Box<dyn Iterator>`: it is the return type of a method, also of a `dyn` trait, an `IntoIter`, and
//! the type of a field.
//!
//! ```
//! use cede::Generator;
//! use std::iter::Peekable;
//!
//! trait Source {
//!     fn tokens(&self) -> Generator<String>;
//! }
//!
//! struct Text(&'static str);
//!
//! impl Source for Text {
//!     fn tokens(&self) -> Generator<String> {
//!         let text = self.0;
//!         Generator::new(move |y| text.split(' ').for_each(|word| y.yield_(word.to_string())))
//!     }
//! }
//!
//! /// A term, repeated with a plus sign between.
//! struct Repeated(Box<dyn Source>, usize);
//!
//! impl Source for Repeated {
//!     fn tokens(&self) -> Generator<String> {
//!         let parts: Vec<_> = (0..self.1).map(|_| self.0.tokens()).collect();
//!         Generator::new(move |y| {
//!             for (place, part) in parts.into_iter().enumerate() {
//!                 if place > 0 {
//!                     y.yield_("+".to_string());
//!                 }
//!                 y.yield_from(part);
//!             }
//!         })
//!     }
//! }
//!
//! struct Calculator {
//!     tokens: Peekable<Generator<String>>,
//! }
//!
//! impl Calculator {
//!     fn sum(&mut self) -> Option<i64> {
//!         let mut sum = self.product()?;
//!         while self.tokens.next_if_eq("+").is_some() {
//!             sum += self.product()?;
//!         }
//!         Some(sum)
//!     }
//!
//!     fn product(&mut self) -> Option<i64> {
//!         let mut product = self.tokens.next()?.parse().ok()?;
//!         while self.tokens.next_if_eq("*").is_some() {
//!             product *= self.tokens.next()?.parse::<i64>().ok()?;
//!         }
//!         Some(product)
//!     }
//! }
//!
//! let source: Box<dyn Source> = Box::new(Repeated(Box::new(Text("2 + 3 * 4")), 2));
//! let mut calculator = Calculator { tokens: source.tokens().peekable() };
//! assert_eq!(calculator.sum(), Some(28));
//! ```
//!
//! *Watch for:* a body is `'static`, so it cannot borrow from `self`: copy or share what it needs (`Rc`). A generator is neither `Send` nor
//! `Sync`, and neither is a struct with one.
