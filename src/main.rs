//! The `bellwether` binary; everything it does is in the library.

fn main() {
    bellwether::cli::main()
}
