from jetloom.cli import main

main()
