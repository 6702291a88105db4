from tierwise_lab.cli import main

main()
