; A disk that is a computer's whole software: from the BIOS to 64-bit mode with AVX-512, then the
; driver. Assembled with CODE_SECTORS and MEMORY_SECTORS, which follow this sector on the disk.
bits 16
org 0x7c00

PAGE_TABLES equ 0x70000         ; PML4, one PDPT, one PD: the first gigabyte, mapped to itself
CODE        equ 0x2000000       ; where the driver and the kernels are linked to run
STACK       equ 0x3000000
MEMORY      equ 0x4000000       ; jobs and tables
ALL_VECTORS equ 0xe7            ; XCR0: x87, SSE, AVX, and the three parts of AVX-512

start:
    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    in al, 0x92                 ; the A20 line
    or al, 2
    out 0x92, al
    lgdt [gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp 8:protected

bits 32
protected:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov edi, PAGE_TABLES
    xor eax, eax
    mov ecx, 0x3000 / 4
    rep stosd
    mov dword [PAGE_TABLES], PAGE_TABLES + 0x1003
    mov dword [PAGE_TABLES + 0x1000], PAGE_TABLES + 0x2003
    mov edi, PAGE_TABLES + 0x2000
    mov eax, 0x83               ; present, writable, two megabytes
    mov ecx, 512
.page:
    mov [edi], eax
    add eax, 0x200000
    add edi, 8
    loop .page
    mov eax, cr4
    or eax, (1 << 5) | (1 << 9) | (1 << 10) | (1 << 18)     ; PAE, SSE, its exceptions, XSAVE
    mov cr4, eax
    mov eax, PAGE_TABLES
    mov cr3, eax
    mov ecx, 0xc0000080         ; EFER.LME
    rdmsr
    or eax, 1 << 8
    wrmsr
    mov eax, cr0
    and eax, ~(1 << 2)
    or eax, (1 << 31) | (1 << 1)
    mov cr0, eax
    jmp 24:long_mode

bits 64
long_mode:
    mov ax, 32
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor ecx, ecx
    xor edx, edx
    mov eax, ALL_VECTORS
    xsetbv
    mov rsp, STACK
    mov r8d, 1                  ; the next sector
    mov edi, CODE
    mov r9d, CODE_SECTORS
    call load
    mov edi, MEMORY
    mov r9d, MEMORY_SECTORS
    call load
    mov rax, CODE
    call rax
    mov rsi, shutdown           ; Bochs ends when it reads this word on port 0x8900
    mov dx, 0x8900
.letter:
    lodsb
    test al, al
    jz halt
    out dx, al
    jmp .letter
halt:
    hlt
    jmp halt

load:                           ; r9d sectors from r8d on to rdi, one ATA read each
    mov dx, 0x1f2
    mov al, 1
    out dx, al
    mov eax, r8d
    inc dx
    out dx, al
    shr eax, 8
    inc dx
    out dx, al
    shr eax, 8
    inc dx
    out dx, al
    inc dx
    mov al, 0xe0
    out dx, al
    inc dx
    mov al, 0x20
    out dx, al
.wait:
    in al, dx
    test al, 0x80
    jnz .wait
    test al, 8
    jz .wait
    mov dx, 0x1f0
    mov ecx, 256
    rep insw
    inc r8d
    dec r9d
    jnz load
    ret

shutdown: db "Shutdown", 0
align 8
gdt:
    dq 0
    dq 0x00cf9a000000ffff       ;  8: 32-bit code
    dq 0x00cf92000000ffff       ; 16: data
    dq 0x00af9a000000ffff       ; 24: 64-bit code
    dq 0x00cf92000000ffff       ; 32: data
gdt_pointer:
    dw $ - gdt - 1
    dd gdt
times 510 - ($ - $$) db 0
    dw 0xaa55
