"""The former name of benchmarks.baseline, until version 1.0: `python -m benchmarks.yardstick`."""

if __name__ == "__main__":
    from benchmarks.baseline import main

    main()
