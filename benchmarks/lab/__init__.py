"""What benchmarks and crash tests share: child processes, publishing and reading, the checks of the promises."""
